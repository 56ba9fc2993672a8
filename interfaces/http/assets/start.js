"use strict";
SwaggerUIBundle({
  url: document.querySelector("link[rel=alternate]").href,
  dom_id: "#documentation",
  deepLinking: true,
  validatorUrl: null,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
});
