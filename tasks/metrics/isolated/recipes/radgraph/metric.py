"""RadGraph F1 of each report: entities, entities with whether they are related, and relations."""

from medim_metric import read, weights, write
from radgraph import F1RadGraph

rows, predictions, references = read()
scorer = F1RadGraph(reward_level="all", model_type="radgraph-xl", model_cache_dir=str(weights()))
_, (entities, related, relations), _, _ = scorer(refs=references, hyps=predictions)
write(rows, RG_E=entities, RG_ER=related, RG_bar_ER=relations)
