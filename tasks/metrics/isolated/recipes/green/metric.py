"""GREEN of each report: matched findings over these and the clinically significant errors, as a language model counts them."""

import os
import tempfile

from medim_metric import read, weights, write
from radeval.metrics.green_score.green import GREEN

rows, predictions, references = read()
folder = str(weights() / "green")
with tempfile.TemporaryDirectory() as scratch:
    os.chdir(scratch)
    _, _, scores, _ = GREEN(folder, output_dir=scratch)(references, predictions)
write(rows, GREEN=scores)
