"""Paths of every file and folder that stages read or write, relative to the repository."""

from pathlib import Path

PARAMS = Path("params.yaml")
CONF = Path("conf")
ACCELERATE = CONF / "accelerate"
TEMPLATES = CONF / "prompts"

DATA = Path("data")
PARAMS_OK = DATA / "params.ok"
MODELS = DATA / "models"
TRAIN_PROBLEMS = DATA / "problems" / "train.parquet"
EVAL_PROBLEMS = DATA / "problems" / "eval"
CONVERSATIONS = DATA / "problems" / "conversations.parquet"
DEMONSTRATIONS = DATA / "problems" / "demonstrations.parquet"
PASSAGES = DATA / "problems" / "passages.parquet"
SAMPLES = DATA / "samples"
RESAMPLES = DATA / "resamples"
SAMPLE_GRADES = DATA / "sample_grades.parquet"
DIFFICULTY = DATA / "difficulty.parquet"
TRAINING = DATA / "training"
ANSWERS = DATA / "answers"
FOLLOW_UPS = DATA / "follow_ups"
LIKELIHOODS = DATA / "likelihoods"
CHECKPOINTS = DATA / "checkpoints"
UNPACKED = DATA / "unpacked"
TOKENS = DATA / "tokens"
TRACKING = DATA / "tracking"
GRADES = DATA / "grades.parquet"
SAMPLED_GRADES = DATA / "sampled_grades.parquet"
EXPORTS = DATA / "exports"

REPORTS = Path("reports")
METRICS = REPORTS / "metrics"
ARM_METRICS = METRICS / "arms"
DATA_REPORTS = REPORTS / "data"
TABLES = REPORTS / "tables"
FIGURES = REPORTS / "figures"
TRAINING_LOGS = REPORTS / "training"
MODEL_REPORTS = REPORTS / "models"
LIKELIHOOD_REPORTS = REPORTS / "likelihoods"
TIMINGS = REPORTS / "timings"
CARDS = REPORTS / "cards"
SWEEP_REPORTS = REPORTS / "sweeps"
EXPORT_REPORTS = REPORTS / "exports"
AGREEMENT = REPORTS / "agreement"
STUDY_REPORTS = REPORTS / "study"
QUANTIZATION_REPORTS = REPORTS / "quantization"

LOGS = Path("logs")
