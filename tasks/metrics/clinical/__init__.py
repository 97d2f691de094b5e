"""Report metrics that read findings: labellers, entities and graphs."""
