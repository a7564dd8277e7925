# Every target keeps its environment in .venv. PYTHON picks the interpreter that makes it.
PYTHON ?= python3
export HF_HUB_OFFLINE ?= 1
BIN := .venv/bin
READY := .venv/.ready
MADE := architecture codes experiments glossary library models policies reference

.PHONY: demo test test-cluster soak lint made site bench growth peers clean

demo: $(READY)
	$(BIN)/causaldsl run programs/toy_illusion.cpatch --out runs/demo/toy_illusion
	$(BIN)/causaldsl run programs/mlp_in_the_middle.cpatch --out runs/demo/mlp_in_the_middle
	@echo
	@echo "Look at:"
	@echo "  runs/demo/toy_illusion/report.html          the 3-neuron example: claims, program, results"
	@echo "  runs/demo/mlp_in_the_middle/report.html     the same for a direction in SmolLM2"
	@echo "  runs/demo/mlp_in_the_middle/effects.svg     what each patch did, as a picture"
	@echo "  runs/demo/mlp_in_the_middle/results.json    every number with its interval"

test: $(READY) lint
	$(BIN)/causaldsl models pull smollm2-135m
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not soak" -n 2 --dist worksteal

# About two hours on two cores.
soak: $(READY)
	$(BIN)/causaldsl models pull smollm2-135m
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m soak -n 2 --dist worksteal --durations=20

# Ray and submitit are large, so the tests that need them are skipped without.
test-cluster: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[ray,slurm]" -c constraints.txt
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/cluster -m "not soak"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# All that is made from the code and needs no run of a model. See docs/extending.md.
made: $(READY)
	for page in $(MADE); do $(BIN)/python docs/make_$$page.py || exit 1; done
	$(BIN)/python editors/vscode/make_grammar.py
	UPDATE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q tests/frontend/test_messages.py

# The docs as a site, in site/: every link must lead somewhere.
site: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[docs]" -c constraints.txt
	$(BIN)/mkdocs build --strict

bench: $(READY)
	$(BIN)/causaldsl models pull smollm2-135m
	$(BIN)/python benchmarks/run.py

growth: $(READY)
	$(BIN)/causaldsl models pull smollm2-135m
	$(BIN)/python benchmarks/growth.py

# Other tools to compare with, in environments of their own under .venv-peers.
peers: $(READY)
	$(BIN)/python benchmarks/peers.py

clean:
	rm -rf .venv .venv-peers runs

# torch comes first: what needs it would otherwise bring the builds for graphics cards.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch -c constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		-e . -r requirements-dev.txt
	touch $(READY)
