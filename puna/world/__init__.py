"""A synthetic village with ground truth: crawl, exams, dialogs and annotators, all from one seed (docs/world.md)."""
