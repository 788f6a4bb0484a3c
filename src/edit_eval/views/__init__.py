"""Views: terminal, report, export. They read events, rows and summaries, and decide nothing."""
