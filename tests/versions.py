"The lowest versions that settings.ini promises, and what the tests need, as pip reads them: see `make lowest`."
from configparser import ConfigParser
from pathlib import Path

TOOLS = "pytest", "nbdev", "execnb", "fastcore", "hypothesis"

def lowest() -> list[str]:
    "Each requirement at its lowest version, then the tools."
    config = ConfigParser(delimiters=["="])
    config.read(Path(__file__).parents[1]/"settings.ini", encoding="utf-8")
    settings = config["DEFAULT"]
    needs = [*settings["requirements"].split(), *settings["run_requirements"].split()]
    tools = [need for need in settings["dev_requirements"].split() if need.startswith(TOOLS)]
    return [need.replace(">=", "==") for need in needs] + tools

if __name__ == "__main__":
    print("\n".join(lowest()))
