"""For datasets 3: load_dataset("loading_script/bio_facts_script.py", "n1k", trust_remote_code=True). Needs bio_facts installed.

datasets 4 and newer run no scripts: use the Parquet files of an export there, or bio_facts.load_dataset.
"""

from bio_facts.publish import datasets_builder


class BioFactsScript(datasets_builder.BioFacts):
    """The builder of the package."""
