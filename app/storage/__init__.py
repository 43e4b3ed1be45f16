"""The ledger: tables, transactions and one file of functions per noun. Services reach it through DatabaseService."""
