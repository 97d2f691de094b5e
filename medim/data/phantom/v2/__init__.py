"""Phantom version 2, frozen: graded findings, styles of reports, priors, twins. See CARD.md."""
