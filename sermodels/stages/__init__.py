"""The stages of a run: each is one function from references to a stage folder, and resumes where it was killed."""
