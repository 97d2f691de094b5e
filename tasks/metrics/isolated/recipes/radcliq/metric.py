"""RadCliQ-v1 of each report: RadGraph, BERTScore and CheXbert's embedding in one number of predicted errors."""

from medim_metric import read, write
from radeval import RadEval

rows, predictions, references = read()
scores = RadEval(metrics=["radcliq"], per_sample=True, show_progress=False)(refs=references, hyps=predictions)
write(rows, **{"RadCliQ-v1": scores["radcliq_v1"]})
