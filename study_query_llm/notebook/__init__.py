"""How objects show themselves in notebooks: as small pieces of HTML, whatever their texts say."""

from study_query_llm.notebook.registering import show_in_notebooks

__all__ = ["show_in_notebooks"]
