"""`python -m limelight`: the command `limelight`, where its script is not on the path."""

from limelight.cli import app

if __name__ == "__main__":
    app(prog_name="python -m limelight")
