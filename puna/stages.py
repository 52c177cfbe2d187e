"""The table of stage kinds: the one place, with puna/cli, that sees every part of the house."""

from puna.lineage.runner import Stage

STAGES: dict[str, Stage] = {
    "world": Stage("puna.world.village", "WorldConfig", seeded=True),
    "pollute": Stage("puna.world.pollute", "PolluteConfig", seeded=True),
    "curate": Stage("puna.curate.pipeline", "CurateConfig"),
    "embed": Stage("puna.engine.embed", "EmbedConfig"),
    "semantic-dedup": Stage("puna.curate.dedup.semantic", "SemanticConfig"),
    "languages": Stage("puna.curate.language.model", "LanguagesConfig", seeded=True),
    "thresholds": Stage("puna.curate.language.thresholds", "ThresholdsConfig"),
    "label": Stage("puna.curate.classify.label", "LabelConfig", seeded=True),
    "label-model": Stage("puna.evals.label", "LabelModelConfig", seeded=True),
    "classify": Stage("puna.curate.classify.train", "ClassifyConfig", seeded=True),
    "filter": Stage("puna.curate.classify.filter", "FilterConfig"),
    "tokenizer": Stage("puna.tokenizer.train", "TokenizerConfig"),
    "tokens": Stage("puna.tokenizer.shards", "TokensConfig"),
    "mix": Stage("puna.pretrain.mix.plan", "MixConfig", seeded=True),
    "mix-search": Stage("puna.pretrain.mix.search", "MixSearchConfig", seeded=True),
    "pretrain": Stage("puna.pretrain.run", "PretrainConfig", seeded=True),
    "sft": Stage("puna.posttrain.sft", "SftConfig", seeded=True),
    "reward": Stage("puna.posttrain.reward", "RewardConfig", seeded=True),
    "generate": Stage("puna.posttrain.generate", "GenerateConfig", seeded=True),
    "judge": Stage("puna.posttrain.judge", "JudgeConfig"),
    "annotate": Stage("puna.world.annotate", "AnnotateConfig", seeded=True),
    "select": Stage("puna.posttrain.select", "SelectConfig"),
    "dpo": Stage("puna.posttrain.dpo", "DpoConfig", seeded=True),
    "ppo": Stage("puna.posttrain.ppo", "PpoConfig", seeded=True),
    "keep": Stage("puna.posttrain.keep", "KeepConfig"),
    "baselines": Stage("puna.evals.baselines", "BaselinesConfig"),
    "evaluate": Stage("puna.evals.run", "EvaluateConfig", seeded=True),
    "export": Stage("puna.export.run", "ExportConfig"),
}
