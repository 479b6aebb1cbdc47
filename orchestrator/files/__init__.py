"""Write files of a project, all of them or none."""
