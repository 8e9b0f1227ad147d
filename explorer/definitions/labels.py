"""Numbers of labels."""

from explorer.definitions.definition import Definition

LABELS: dict[str, Definition] = {
    "label_score": Definition(
        "Score",
        "F1 of the label's current text on held-out examples: 2 × right / (examples that it "
        "predicts + examples that fire), with its 95% interval. Scores by similarity, and of "
        "what a feature promotes, have no F1 and show their AUROC. Scores of different kinds "
        "measure different things and are never averaged.",
    ),
    "score_concept": Definition(
        "Concept",
        "F1 of the label's rule, token by token on documents held out: 2 × right / (tokens on "
        "which it holds + tokens on"
        " which the feature fires above the stated share of its maximum). The interval draws "
        "contexts again, n counts them.",
    ),
    "score_promotes": Definition(
        "Promotes",
        "AUROC on documents held out: how often the feature is higher on a token before one of "
        "those that it promotes than on"
        " another. Activations up to the stated share of its maximum count as 0. n counts "
        "contexts.",
    ),
    "label_votes": Definition(
        "Votes",
        "Votes for the label's current text, its author's included, minus those against: a "
        "member weighs 1,"
        " a curator or staff 3, a suspended user 0.",
        "count",
    ),
    "label_support": Definition(
        "Support",
        "Votes for the label minus those against it, plus evidence: 2 × the lower of its score "
        "and its balanced accuracy - 1, at least 0. The label with the most votes and support "
        "above zero is the feature's label; on a tie, a person's, then the one with more "
        "evidence. A label with a score of 0.5 or less heads a page only if people vote for it.",
    ),
    "label_disputed": Definition(
        "Disputed",
        "The feature's label has as much weight against it as for it, or people support another "
        "label that has at least half its support.",
        "count",
    ),
    "label_queue": Definition(
        "Needs a label",
        "Live features without a label that fire on 0.001% to 10% of tokens, then disputed ones; "
        "of each the densest first."
        " Features that you have voted on or labelled are left out.",
        "count",
    ),
    "labelled_share": Definition(
        "Labelled",
        "Share of the SAE's live features that have a label, from a person or a method.",
        "share",
    ),
    "labelled_by_people": Definition(
        "By people", "Live features whose label a person wrote.", "count"
    ),
    "alive_features": Definition(
        "Live features", "Features that fired at least once on the dashboard's tokens.", "count"
    ),
    "alpha_people": Definition(
        "People",
        "Krippendorff's alpha, nominal: a unit is the present words of a shown label, a rating "
        "one person's for or against,"
        " its author's being for it. 1 is full agreement, 0 what chance gives; votes of the "
        "suspended are left out.",
    ),
    "alpha_methods": Definition(
        "Methods, same words",
        "Krippendorff's alpha, nominal: a unit is a feature, a rating the words of a method's "
        "best label of it, in small"
        " letters; people together are one method. Different words with the same meaning count "
        "as disagreement.",
    ),
    "method_chosen": Definition(
        "Chosen", "Of the method's labels, those that are their feature's label.", "count"
    ),
    "method_median": Definition(
        "Median",
        "Median over the method's labels of the score of that kind: F1, else AUROC.",
    ),
    "method_scores": Definition(
        "Scores",
        "The method's labels in 20 equal bins of that score, from 0 to 1.",
        "count",
    ),
    "head_to_head": Definition(
        "Difference",
        "Mean difference of the two methods' scores over the features that both labelled and "
        "that were scored by the same"
        " kind of test, with its 95% interval (1.96 standard errors). Of each method its best "
        "label counts.",
    ),
    "label_cost_tokens": Definition(
        "Tokens",
        "Tokens of prompts and answers, as the endpoints counted them, of the jobs of this row; "
        "– where none was asked.",
        "count",
    ),
    "label_cost_dollars": Definition(
        "Dollars",
        "Those tokens at the prices of the endpoints when the jobs ran, in US dollars; – where "
        "none had a price.",
    ),
    "label_cost_time": Definition(
        "Time",
        "From start to end of the last attempt of each job, added up. A job that wrote for two "
        "methods counts for each.",
    ),
    "person_labels": Definition("Labels", "Labels of this person that are shown.", "count"),
    "person_chosen": Definition(
        "Chosen", "Features whose label is one that this person wrote.", "count"
    ),
    "person_votes": Definition(
        "Votes", "Votes that this person has given on labels of others.", "count"
    ),
    "person_comments": Definition("Comments", "Comments of this person that are shown.", "count"),
}
