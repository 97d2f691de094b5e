"""RaTEScore of each report, with the affinities for long reports."""

import torch
from medim_metric import read, weights, write
from RaTEScore import RaTEScore

rows, predictions, references = read()
folders = {"bert_model": str(weights() / "rate-ner"), "eval_model": str(weights() / "biolord")}
scorer = RaTEScore(**folders, use_gpu=torch.cuda.is_available(), affinity_matrix="long")
write(rows, RaTEScore=scorer.compute_score(predictions, references))
