"""What is said to a reader, built once as blocks and rendered as a page, as Markdown and in the terminal."""
