"""Modules that the training needs and a learner may skip. They import no file outside support/."""
