"""What the files of an encoder say of it, before any weight is loaded.

The files are those of sentence-transformers: `modules.json` lists what a text goes through, each
module keeps its settings in a folder of its own. What cannot be done as they say is refused.
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import normalizers
from transformers import AutoConfig, AutoTokenizer, PretrainedConfig, PreTrainedTokenizerBase

from torch_embed.errors import InputError
from torch_embed.files import check_files, read_card
from torch_embed.hub import Place, hub_source, silence, unreadable

POOLING_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "last",
}
"""In the order in which sentence-transformers concatenates what several flags give."""
OTHER_NAMES = {"lasttoken": "last", "mean_sqrt_len_tokens": "mean_sqrt_len"}
LAYERS = ("Dense", "LayerNorm", "Normalize")
"""What may follow the pooling; Dropout does nothing to an encoder that is not trained anew."""
TRANSFORMER_FILES = [
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
]
OF_DOCUMENTS = ("document", "passage", "search_document", "corpus")
"""Names that models give to the prompt of what is searched, as against `query`."""
COUNT_AFTER_PADDING = {"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet"}
"""Kinds of model whose first position is the one after the padding token's id."""
TRAINED = "torch_embed.json"
"""What we write of an encoder that we have fine-tuned."""
UNLIMITED = 10**7
"""Tokenizers say a larger number where they know of no limit."""


class Module(NamedTuple):
    """One thing that a text goes through."""

    kind: str
    """`Transformer`, `Pooling` or one of `LAYERS`."""
    place: Place
    config: dict[str, Any]
    """Empty for a transformer."""


class Layout(NamedTuple):
    """What the files of an encoder say."""

    transformer: Place
    """Of its configuration, weights and tokenizer."""
    adapter: Place | None
    """Of a PEFT adapter on top of it."""
    pooling: str | None
    """One of the values of `POOLING_FLAGS`, or several joined by `+`; None where no file says."""
    include_prompt: bool
    """Are the prompt's tokens pooled?"""
    layers: list[Module]
    """What follows the pooling."""
    settings: dict[str, Any]
    """Of the transformer: `max_seq_length`, `do_lower_case`."""
    prompt: str
    """What goes before the text of an item."""
    similarity: str
    """By which the model's makers compare its embeddings."""

    @property
    def trained(self) -> dict[str, Any]:
        """What we wrote of it when we fine-tuned it (`TRAINED`); empty if we did not."""
        return (self.adapter or self.transformer).json(TRAINED)

    def refuse_damaged(self) -> None:
        """Raise ValueError if a file that we wrote is not as it was written."""
        path = (self.adapter or self.transformer).file(TRAINED)
        if path is not None:
            check_files(path.parent, read_card(path).get("files", {}))

    @property
    def lesson(self) -> dict[str, Any]:
        """The card of the lesson that taught it; empty if none did, or not by us."""
        return self.trained.get("card", {}).get("training", {})


def transformer_of(source: str) -> Place:
    """Where the transformer of a model lies, which older ones keep in a sub-folder."""
    return _modules(source)[0].place


def read_layout(model: str) -> Layout:
    """What the files say of a model: a short name, a hub id or a folder.

    Where an adapter's folder says nothing of modules, its base model's files are asked.

    Raises:
        InputError: no such model, or something in it that would not be done as its files say.
    """
    source = hub_source(model)
    modules = _modules(source)
    place = modules[0].place
    adapter = place.json("adapter_config.json")
    if not adapter:
        return _layout(source, modules)
    base = hub_source(adapter["base_model_name_or_path"])
    of_base = _modules(base)
    read = _layout(source, modules) if len(modules) > 1 else _layout(base, of_base)
    return read._replace(transformer=of_base[0].place, adapter=place)


def _modules(source: str) -> list[Module]:
    """What `modules.json` lists; without it the transformer, and its pooling if that is there."""
    root = Place(source, "")
    listed = root.json("modules.json")
    if not listed:
        listed = [{"type": "sentence_transformers.Transformer", "path": ""}]
        if Place(source, "1_Pooling").file("config.json"):
            listed.append({"type": "sentence_transformers.Pooling", "path": "1_Pooling"})
        _refuse_unlisted(source)
    return [_module(source, module["type"], module["path"]) for module in listed]


def _refuse_unlisted(source: str) -> None:
    """A folder of a module that no file tells when to apply would be left out."""
    folders = Path(source).iterdir() if Path(source).is_dir() else ()
    for folder in sorted(folders):
        named = re.fullmatch(r"\d+_(\w+)", folder.name)
        if named and named[1] not in ("Transformer", "Pooling", "Normalize"):
            raise InputError(
                f"{source}: {folder.name} is a module's, but there is no modules.json that lists"
                " it; copy that file from where the model is from"
            )


def _module(source: str, type_: str, path: str) -> Module:
    kind, place = type_.rpartition(".")[2], Place(source, path)
    if not type_.startswith("sentence_transformers.") or kind not in (
        "Transformer", "Pooling", "Dropout", *LAYERS
    ):  # fmt: skip
        raise InputError(
            f"{source}: its module {type_} (in {path or 'its root'}) is not known here; give an"
            f" encoder of Transformer, Pooling, {', '.join(LAYERS)}"
        )
    if kind == "Transformer":
        return Module(kind, place, {})
    config = place.json("config.json")
    if not config and kind not in ("Normalize", "Dropout"):
        raise InputError(
            f"{source}: modules.json lists {path}, but {path}/config.json is not there; copy it"
            " from where the model is from"
        )
    for key in ("module_input_name", "module_output_name"):
        if config.get(key) not in (None, "sentence_embedding"):
            raise InputError(
                f"{source}: {kind} in {path} is applied to {config[key]}, which is not done here;"
                " give an encoder that applies it to the pooled embedding"
            )
    return Module(kind, place, config)


def _layout(source: str, modules: list[Module]) -> Layout:
    first, *after = modules
    kinds = [module.kind for module in modules]
    if kinds[0] != "Transformer" or kinds[1:2] not in ([], ["Pooling"]) or "Pooling" in kinds[2:]:
        raise InputError(
            f"{source}: modules.json lists {', '.join(kinds)}; here a Transformer comes first, then"
            " a Pooling, and no other"
        )
    if len(modules) == 1 and first.place.file("modules.json"):
        raise InputError(f"{source}: modules.json lists no Pooling; give an encoder of texts")
    told = Place(source, "").json("config_sentence_transformers.json")
    if told.get("model_type", "SentenceTransformer") != "SentenceTransformer":
        raise InputError(
            f"{source}: it is a {told['model_type']}; give a model that embeds a text as one vector"
        )
    return Layout(
        transformer=first.place,
        adapter=None,
        pooling=_pooling(after[0]) if after else None,
        include_prompt=not after or after[0].config.get("include_prompt", True),
        layers=[module for module in after[1:] if module.kind != "Dropout"],
        settings=_settings(first.place),
        prompt=_prompt(source, told),
        similarity=told.get("similarity_fn_name") or "cosine",
    )


def _pooling(module: Module) -> str:
    given = module.config.get("pooling_mode")
    if given is None:
        on = [flag for flag, value in module.config.items() if flag in POOLING_FLAGS and value]
        given = [mode for flag, mode in POOLING_FLAGS.items() if flag in on] or "mean"
        strange = [
            flag
            for flag, value in module.config.items()
            if flag.startswith("pooling_mode_") and value and flag not in POOLING_FLAGS
        ]
        given = strange or given
    names = [given] if isinstance(given, str) else given
    modes = [OTHER_NAMES.get(name, name) for name in names]
    for mode in modes:
        if mode not in POOLING_FLAGS.values():
            raise InputError(
                f"{module.place.source}: pooling {mode!r} in {module.place.path} is not one of"
                f" {', '.join(POOLING_FLAGS.values())}"
            )
    return "+".join(modes)


def _settings(place: Place) -> dict[str, Any]:
    """Of the transformer."""
    settings: dict[str, Any] = next(filter(None, map(place.json, TRANSFORMER_FILES)), {})
    task = settings.get("transformer_task", "feature-extraction")
    text = settings.get("modality_config", {"text": {}}).get("text", {})
    output = text.get("method_output_name", "last_hidden_state")
    if task != "feature-extraction" or output != "last_hidden_state":
        raise InputError(
            f"{place.source}: its Transformer gives {output} for {task}; give an encoder whose last"
            " hidden states are pooled"
        )
    return settings


def _prompt(source: str, told: dict[str, Any]) -> str:
    """That of documents, else the default one; sentence-transformers writes absent ones empty."""
    prompts, default = told.get("prompts") or {}, told.get("default_prompt_name")
    if default is not None and default not in prompts:
        raise InputError(
            f"{source}: its default prompt {default!r} is none of its prompts; mend"
            " config_sentence_transformers.json"
        )
    asked = [prompts.get(name) for name in (*OF_DOCUMENTS, default)]
    return next(filter(None, asked), "")


def read_tokenizer(layout: Layout) -> PreTrainedTokenizerBase:
    """The tokenizer as the model's texts went through it."""
    place = layout.transformer
    tokenizer = AutoTokenizer.from_pretrained(place.source, subfolder=place.path)
    if layout.settings.get("do_lower_case"):
        backend = tokenizer.backend_tokenizer
        steps = [normalizers.Lowercase(), backend.normalizer]
        backend.normalizer = normalizers.Sequence([step for step in steps if step])
    return tokenizer


def read_config(place: Place) -> PretrainedConfig:
    """The configuration of a transformer.

    Raises:
        InputError: its hidden states are not those of transformers' own class.
    """
    config = AutoConfig.from_pretrained(place.source, subfolder=place.path)
    if "AutoModel" in (getattr(config, "auto_map", None) or {}):
        raise InputError(
            f"{place.source}: it brings code of its own ({config.auto_map['AutoModel']}), which is"
            f" not run here; take auto_map out of config.json if {config.model_type} in"
            " transformers computes the same"
        )
    if config.is_encoder_decoder:
        raise InputError(
            f"{place.source}: {config.model_type} is an encoder with a decoder, which is not read"
            " here; give an encoder alone"
        )
    return config


def longest(layout: Layout, tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig) -> int:
    """How many tokens of a text the encoder reads: what its files say, as far as it has positions.

    Raises:
        InputError: nothing says it.
    """
    said = layout.settings.get("max_seq_length") or tokenizer.model_max_length
    positions = getattr(config, "max_position_embeddings", None) or 0
    if config.model_type in COUNT_AFTER_PADDING:
        positions -= config.pad_token_id + 1
    most = min(said, positions) if positions > 0 else said
    if most > UNLIMITED:
        raise InputError(
            f"{layout.transformer.source}: no file says how many tokens it reads; write"
            ' {"max_seq_length": 512} into sentence_bert_config.json'
        )
    return int(most)


def lesson_of(model: str) -> dict[str, Any]:
    """The card of the lesson that taught a model, empty if none did; reads no weights.

    Raises:
        InputError: no such model, or its files cannot be read.
    """
    silence()
    try:
        return read_layout(model).lesson
    except Exception as error:
        raise unreadable(model, error) from None


def token_lengths(model: str, texts: list[str]) -> list[int]:
    """How many tokens each text has for a model, with its prompt and special tokens, uncut.

    Reads the tokenizer and no weights.

    Raises:
        InputError: no such model, or its files cannot be read.
    """
    silence()
    try:
        layout = read_layout(model)
        tokenizer = read_tokenizer(layout)
    except Exception as error:
        raise unreadable(model, error) from None
    prompted = [layout.prompt + text for text in texts]
    return [len(ids) for ids in tokenizer(prompted, return_attention_mask=False)["input_ids"]]


def token_limit(model: str) -> int:
    """How many tokens of a text a model reads, counted as in `token_lengths`; reads no weights.

    Raises:
        InputError: no such model, or its files cannot be read.
    """
    silence()
    try:
        layout = read_layout(model)
        return longest(layout, read_tokenizer(layout), read_config(layout.transformer))
    except Exception as error:
        raise unreadable(model, error) from None
