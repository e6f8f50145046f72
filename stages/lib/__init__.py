"""Code that the stages share. A module here never imports a stage."""
