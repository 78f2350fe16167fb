# Everything runs in .venv, made here from the pinned constraints. Needs Python 3.11+ and make. `make help` says what there is.
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=

.PHONY: help run test lowest check bench gpu faults docs clean

help:
	@echo 'make run      set up .venv, then thresher run on digits'
	@echo 'make test     all tests, as CI runs them'
	@echo 'make lowest   all tests with the lowest versions that pyproject.toml allows, in .venv-lowest; Python 3.11'
	@echo 'make check    ruff and mypy --strict'
	@echo 'make docs     the site, into build/site'
	@echo 'make bench    speed and memory'
	@echo 'make gpu      the tests and benchmarks that want a GPU; DATA is the folder of CIFAR'
	@echo 'make faults   killed processes, flipped bits, hostile inputs'
	@echo 'make clean    remove .venv, .venv-lowest, build and dist'
	@echo 'ARGS goes to what is run: make test ARGS="-k recorder"; PYTHON makes .venv: make run PYTHON=python3.12'

# What a user gets; `run` needs no more.
.venv/core: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Thresher needs Python 3.11 or newer; set PYTHON=...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch numpy
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

# And what the tests, the checks and the documentation need.
.venv/done: .venv/core
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

run: .venv/core
	$(BIN)/thresher run $(ARGS)

test: .venv/done
	$(BIN)/python -m pytest -q -n auto --dist worksteal $(ARGS)

# The newest Python for which all of these versions have wheels is 3.11.
.venv-lowest/done: pyproject.toml constraints.txt constraints-lowest.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info[:2] == (3, 11) else "The lowest versions need Python 3.11; set PYTHON=...")'
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-lowest.txt "$$(grep '^torch==' constraints.txt)" numpy
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-lowest.txt \
		-e '.[transformers,lightning,accelerate,files,s3,tensorboard,mlflow,cleanlab]' 'moto[s3]' flask flask-cors pytest pytest-xdist hypothesis
	touch $@

lowest: .venv-lowest/done
	.venv-lowest/bin/python -m pytest -q -n auto --dist worksteal $(ARGS)

check: .venv/done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	MYPY_NUM_WORKERS=2 $(BIN)/mypy

bench: .venv/done
	for script in score_dumps replay_grid recorder_overhead throughput imagenet_epoch packing scoring selection recorder_sizes store_sizes network_sizes import_time browsing; do \
		$(BIN)/python benchmarks/$$script.py $(ARGS) || exit 1; done

gpu: .venv/done
	@test -n '$(DATA)' || { echo 'make gpu wants the folder that holds CIFAR: make gpu DATA=DIR'; exit 2; }
	$(BIN)/python -m pytest -q tests/test_cuda.py
	$(BIN)/python benchmarks/throughput.py --device cuda --steps 390 --epochs 2 --workers 2 8
	$(BIN)/python benchmarks/throughput.py --device cuda --steps 390 --epochs 2 --workers 2 8 --compile
	$(BIN)/python benchmarks/gpu_recording.py
	$(BIN)/python benchmarks/gpu_streams.py
	$(BIN)/python benchmarks/packing.py --device cuda --data cifar100 --data-dir $(DATA) --model resnet18 --precision bf16 \
		--keep 0.1 --trainings 8 --at-once 4 8 --engines turns threads

faults: .venv/done
	$(BIN)/python tests/faults/suite.py --out docs/reliability.json $(ARGS)
	$(BIN)/python tests/faults/page.py

docs: .venv/done
	$(BIN)/python docs/generate.py
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --fresh-env docs build/site

clean:
	rm -rf .venv .venv-lowest build dist
