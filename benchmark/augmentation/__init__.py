"""`medim-bench run augmentation`: pairs are generated, downstream models trained with and without, arms compared."""
