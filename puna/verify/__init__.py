"""Answer -> verdict: the one place that decides whether an answer is right, for evaluation, rewards and synthesis."""

from puna.verify.answer import Verdict, check_choice, check_number, extract_choice, extract_number

__all__ = ["Verdict", "check_choice", "check_number", "extract_choice", "extract_number"]
