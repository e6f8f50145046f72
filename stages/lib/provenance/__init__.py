"""Files of the Hub at pinned commits, facts about models and data, licenses, versions."""
