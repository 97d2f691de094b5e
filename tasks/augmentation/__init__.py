"""Do generated pairs help? A downstream model is trained with and without them, in arms that leave one explanation each."""
