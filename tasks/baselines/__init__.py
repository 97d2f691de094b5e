"""What retrieval, copying and ignoring the input give: as anchors of every table, and as systems under test."""
