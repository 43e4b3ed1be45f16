"""Learning: bars become features and labels, ensembles are fitted on the past only and scored on what came after."""
