"""A tokenizer that everybody can count after: four characters are a token, whatever the model."""


class FoursOfLetters:
    """The ports Tokenizer and Tokenizers."""

    name = "fours"

    def __init__(self) -> None:
        self.models: list[str] = []

    def for_model(self, model: str) -> "FoursOfLetters":
        self.models.append(model)
        return self

    def count(self, text: str) -> int:
        return (len(text) + 3) // 4

    def first(self, text: str, most: int) -> str:
        return text[: 4 * most]
