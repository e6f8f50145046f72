"""The license of a base model, as its own files name it."""

from pathlib import Path

from gguf import GGUFReader
from huggingface_hub import ModelCard, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from stages.lib.params.base_model import Base

CARD = "README.md"
UNKNOWN = "unknown"


def license_of(base: Base) -> str:
    """Return the license's identifier, such as ``apache-2.0``, or ``unknown``.

    A GGUF file has it in ``general.license``, a folder and a Hub model in the front matter
    of their card. A Hub model's card is taken from the Hub's cache where it is in it.
    """
    if base.kind == "gguf":
        field = GGUFReader(base.location).get_field("general.license")
        return field.contents() if field else UNKNOWN
    card = Path(base.location) / CARD if base.kind == "folder" else _hub_card(base)
    if card is None or not card.exists():
        return UNKNOWN
    named = ModelCard.load(card).data.to_dict().get("license")
    return named if isinstance(named, str) else UNKNOWN


def _hub_card(base: Base) -> Path | None:
    try:
        return Path(hf_hub_download(base.location, CARD, revision=base.revision))
    except (LocalEntryNotFoundError, HfHubHTTPError):
        return None
