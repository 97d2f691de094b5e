"""RadCliQ-v1 of each report: RadGraph, BERTScore and CheXbert's embedding in one number of predicted errors."""

import sys

import radeval
from medim_metric import read, write

sys.modules["RadEval"] = radeval  # radeval 2.2.1 imports its copy of RadGraph by this name
rows, predictions, references = read()
scores = radeval.RadEval(metrics=["radcliq"], per_sample=True, show_progress=False)(refs=references, hyps=predictions)
write(rows, **{"RadCliQ-v1": scores["radcliq_v1"]})
