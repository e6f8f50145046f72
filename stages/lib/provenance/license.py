"""Read the license of a model from elsewhere from its own files."""

from pathlib import Path

from gguf import GGUFReader
from huggingface_hub import ModelCard, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from stages.lib.params.model_source import ModelSource

CARD = "README.md"
UNKNOWN = "unknown"


def license_of(source: ModelSource) -> str:
    """Return the license's identifier, such as ``apache-2.0``, or ``unknown``.

    It is in ``general.license`` of a GGUF file, and in the front matter of the model card of a
    folder or a Hub model. The card of a Hub model is downloaded unless it is cached.
    """
    if source.kind == "gguf":
        field = GGUFReader(source.location).get_field("general.license")
        return field.contents() if field else UNKNOWN
    card = Path(source.location) / CARD if source.kind == "folder" else _hub_card(source)
    if card is None or not card.exists():
        return UNKNOWN
    license = ModelCard.load(card).data.to_dict().get("license")
    return license if isinstance(license, str) else UNKNOWN


def _hub_card(source: ModelSource) -> Path | None:
    try:
        return Path(hf_hub_download(source.location, CARD, revision=source.revision))
    except (LocalEntryNotFoundError, HfHubHTTPError):
        return None
