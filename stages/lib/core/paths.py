"""Where everything lies, relative to the repository's root."""

from pathlib import Path

PARAMS = Path("params.yaml")
CONF = Path("conf")
ACCELERATE = CONF / "accelerate"

DATA = Path("data")
PARAMS_OK = DATA / "params.ok"
MODELS = DATA / "models"
TRAIN_PROBLEMS = DATA / "problems" / "train.parquet"
EVAL_PROBLEMS = DATA / "problems" / "eval"
CONVERSATIONS = DATA / "problems" / "conversations.parquet"
DEMONSTRATIONS = DATA / "problems" / "demonstrations.parquet"
SAMPLES = DATA / "samples"
SAMPLE_GRADES = DATA / "sample_verdicts.parquet"
DIFFICULTY = DATA / "difficulty.parquet"
TRAINING = DATA / "training"
ANSWERS = DATA / "answers"
LIKELIHOODS = DATA / "likelihoods"
CHECKPOINTS = DATA / "checkpoints"
UNPACKED = DATA / "unpacked"
TRACKING = DATA / "tracking"
GRADES = DATA / "verdicts.parquet"
SWEEPS = DATA / "sweeps"
EXPORTS = DATA / "exports"

REPORTS = Path("reports")
METRICS = REPORTS / "metrics"
ARM_METRICS = METRICS / "arms"
DATA_REPORTS = REPORTS / "data"
TABLES = REPORTS / "tables"
FIGURES = REPORTS / "figures"
TRAINING_LOGS = REPORTS / "training"
MODEL_REPORTS = REPORTS / "models"
TIMINGS = REPORTS / "timings"
CARDS = REPORTS / "cards"
SWEEP_REPORTS = REPORTS / "sweeps"
EXPORT_REPORTS = REPORTS / "exports"

LOGS = Path("logs")
