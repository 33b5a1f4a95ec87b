"The last line of a test run says how many passed and failed, in plain words."

def pytest_unconfigure(config):
    reporter = config.pluginmanager.getplugin("terminalreporter")
    if reporter is None or not reporter.stats: return
    count = lambda *kinds: sum(len([r for r in reporter.stats.get(kind, []) if getattr(r, "when", "call") in ("call", "setup")]) for kind in kinds)
    skipped = count("skipped")
    print(f"{count('passed')} passed, {count('failed', 'error')} failed" + (f", {skipped} skipped" if skipped else ""))
