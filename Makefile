# Two commands set everything up on a fresh machine: `make run` and `make test`.
PYTHON  ?= python3
OUT     ?= .
CONSTRAINTS ?= constraints.txt

SHELL := bash
unexport PYTHONDONTWRITEBYTECODE # pip compiles nothing: what is used is compiled once, when it is first imported
BIN   := .venv/bin
READY := .venv/installed

# A variable becomes the command's flag of the same name; the command checks it, and calls it by the variable's name.
LATENTKIT := LATENTKIT_MAKE=1 $(BIN)/python -m latentkit
flag  = $(if $($(1)),--$(2) "$($(1))")
names = $(if $($(1)),--$(2) $($(1)))
MORE  = $(call names,CHECKPOINTS,checkpoints) $(call names,EXTRA,extra) $(call flag,EXTRA_WEIGHT,extra-weight) $(call flag,EXTRA_EPOCHS,extra-epochs) $(call names,VIEWS,views) $(call flag,VARIANT_SHARE,variant-share) $(call flag,TEACHER,teacher)
CORE  := tests/test_structure.py tests/test_data.py tests/test_final.py tests/test_notebooks.py -k 'not test_notebook_runs or 00_data or 00g or 01 or 02_train or 03 or 04_analysis or 05_final'
TABLE := --recipes A-mlp A-rmlpa A-stitcher best --blends best best_words
ALL  := $(call flag,DATA,data) --out "$(OUT)" $(if $(DEBUG),--debug)

.PHONY: run compare inspect search seeds encode shard kaggle results test lowest fuzz lint hooks lab wheel readme clean help
help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 8

run: $(READY) ## run the final notebook: make run [DATA=folder] [OUT=folder] [MINUTES=10] [RETRAIN=auto|true|false] [EPOCHS=n] [RECIPES="A-mlp D-wide"] [BLENDS="best best_words"] [CHECKPOINTS="folder"] [EXTRA="coco.npz"] [VIEWS="minilm=folder"] [VARIANT_SHARE=0.5]
	@$(LATENTKIT) run $(ALL) $(call flag,MINUTES,minutes) $(call flag,RETRAIN,retrain) $(call flag,EPOCHS,epochs) $(call names,RECIPES,recipes) $(call names,BLENDS,blends) $(MORE)

compare: $(READY) ## train all recipes for MINUTES each and compare them: make compare [DATA=folder] [OUT=folder] [MINUTES=5] [RECIPES="A-mlp D-wide"]
	@$(LATENTKIT) compare $(ALL) $(call flag,MINUTES,minutes) $(call names,RECIPES,recipes)

inspect: $(READY) ## see what captions retrieve, in the browser, on what the last run has left: make inspect [DATA=folder] [OUT=folder] [AGAINST=folder] [PORT=8866]
	@$(LATENTKIT) inspect $(ALL) $(call flag,AGAINST,against) $(call flag,PORT,port)

search: $(READY) ## search for a recipe's best settings: make search [RECIPE=D-wide] [TRIALS=50] [METHOD=random|tpe] [SPACE=D|optimiser] [DATA=folder] [OUT=folder] [EPOCHS=n] [STORAGE=postgresql://user@host/name]
	@$(LATENTKIT) search $(ALL) $(call flag,RECIPE,recipe) $(call flag,SPACE,space) $(call flag,TRIALS,trials) $(call flag,METHOD,method) $(call flag,EPOCHS,epochs) $(call flag,STORAGE,storage)

seeds: $(READY) ## train a recipe for many seeds and average them: make seeds [RECIPE=D-wide] [SEEDS="0 1 2"] [TEAM_D=1] [DATA=folder] [OUT=folder] [EPOCHS=n]
	@$(LATENTKIT) seeds $(ALL) $(call flag,RECIPE,recipe) $(call names,SEEDS,seeds) $(if $(TEAM_D),--team-d) $(call flag,EPOCHS,epochs)

encode: $(READY) ## make the competition's files of pictures and captions: make encode IMAGES=folder CAPTIONS=captions.txt OUT=folder [TEST=captions.txt] [TEXT=encoder] [IMAGE=encoder] [VARIANTS=3] [VIEW=name] [MISSING=stop|skip]
	@$(LATENTKIT) encode --out "$(OUT)" $(if $(DEBUG),--debug) $(foreach name,IMAGES CAPTIONS TEST TEXT IMAGE VARIANTS VIEW MISSING PROMPT RESOLUTION BATCH DEVICE,$(call flag,$(name),$(shell echo $(name) | tr A-Z a-z))) $(call flag,TEXT_POOLING,text-pooling) $(call flag,IMAGE_POOLING,image-pooling) $(call flag,TEXT_LAYER,text-layer) $(call flag,IMAGE_LAYER,image-layer)

shard: $(READY) ## make shards of pairs, to be read as they are needed: make shard DATA=folder|npz OUT=folder [ROWS=100000] [DTYPE=float16|float32] | DATA=shards CHECK=1
	@$(LATENTKIT) shard $(ALL) $(call flag,ROWS,rows) $(call flag,DTYPE,dtype) $(if $(CHECK),--check)

kaggle: $(READY) ## write OUT/to-kaggle for Kaggle's client; or get the data, or check and send a submission: make kaggle COMPETITION=name OWNER=you [SLUG=latentkit] | DOWNLOAD=folder | SUBMIT=file [DATA=folder]
	@$(LATENTKIT) kaggle $(ALL) $(foreach name,COMPETITION OWNER SLUG DOWNLOAD SUBMIT,$(call flag,$(name),$(shell echo $(name) | tr A-Z a-z)))

results: $(READY) ## run everything that RESULTS.md holds, and write it: make results [DATA=folder] [OUT=folder] [MINUTES=5]
	@$(LATENTKIT) run --data sample --out "$(OUT)/results/sample" $(TABLE)
	$(if $(DATA),@$(LATENTKIT) run --data "$(DATA)" --out "$(OUT)/results/data" $(TABLE))
	$(if $(DATA),@$(LATENTKIT) compare --data "$(DATA)" --out "$(OUT)/results/data" $(call flag,MINUTES,minutes))
	@$(BIN)/python tests/faults.py --json "$(OUT)/results/faults.json"
	@$(BIN)/python bench/results.py --sample "$(OUT)/results/sample" --faults "$(OUT)/results/faults.json" $(if $(DATA),--data "$(DATA)" --out "$(OUT)/results/data")
	@$(BIN)/python tests/readme.py

test: $(READY) ## run every notebook and test, and check that notebooks, modules and README agree
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -rs -n auto --maxprocesses=4 --dist loadgroup tests

lowest: ## run the core of the tests with the lowest versions that settings.ini promises: make lowest PYTHON=python3.11
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 10), (3, 11)))' || { echo "The lowest versions exist for Python 3.10 and 3.11: make lowest PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -m venv --clear .venv-lowest
	@.venv-lowest/bin/python tests/versions.py > .venv-lowest/lowest.txt
	@.venv-lowest/bin/python -m pip install -q --disable-pip-version-check -r .venv-lowest/lowest.txt -e .
	@OMP_NUM_THREADS=1 .venv-lowest/bin/python -m pytest -q -rs $(CORE)

fuzz: $(READY) ## damage and forge inputs for MINUTES and tell what is not refused: make fuzz [MINUTES=10]
	@OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz.py --minutes $(or $(MINUTES),10)

lint: $(READY) ## check code and types, and print the figures of the house: make lint [AT=commit to compare with]
	@failed=0; $(BIN)/ruff check . || failed=1; $(BIN)/mypy || failed=1; \
	$(BIN)/python tests/house.py $(if $(AT),--at $(AT)) || failed=1; exit $$failed

hooks: $(READY) ## export and clean notebooks before each commit, by git's own hooks
	@git config core.hooksPath hooks
	@echo "Each commit now runs hooks/pre-commit."

lab: $(READY) ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab nbs

wheel: $(READY) ## build dist/latentkit-*.whl, to attach to a Kaggle notebook
	$(BIN)/pip wheel -q --no-deps -w dist .
	@ls dist

readme: $(READY) ## make README.md from nbs/index.ipynb
	$(BIN)/python tests/readme.py

clean: ## forget the environment and what runs have written
	rm -rf .venv .venv-lowest build dist *.egg-info
	rm -rf compare search seeds results to-kaggle fuzz-findings .latentkit*
	git clean -fdXq checkpoints submission

$(READY): settings.ini setup.py $(CONSTRAINTS)
	@command -v $(PYTHON) >/dev/null || { echo "No '$(PYTHON)' here. Install Python 3.10 or newer with venv, on Debian or Ubuntu: sudo apt install python3 python3-venv"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "latentkit needs Python 3.10 or newer, and '$(PYTHON)' is $$($(PYTHON) --version 2>&1). Install a newer one, then say which: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "'$(PYTHON)' lacks venv. Install it, on Debian or Ubuntu: sudo apt install $$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"; exit 1; }
	@echo "Installing into .venv, once (a few minutes) ..."
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-compile -c $(CONSTRAINTS) -e '.[dev]'
	@touch $@
