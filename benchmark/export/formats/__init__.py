"""The forms in which other projects read pairs, one module each."""

from benchmark.export.formats.form import Form
from benchmark.export.formats.huggingface import HuggingFace, Parquet
from benchmark.export.formats.json_files import Folder, Llava, R2Gen
from benchmark.export.formats.webdataset import WebDataset

FORMS: dict[str, type[Form]] = {form.name: form for form in (Folder, HuggingFace, Llava, Parquet, R2Gen, WebDataset)}
