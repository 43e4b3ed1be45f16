"""Results as people read them: a page that stands alone, and a picture. Rendering only; nothing is computed anew."""
