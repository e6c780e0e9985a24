# make demo | yoco | test | lab | assignments | cifar10 | bench | fuzz | chaos | notebooks: each sets up .venv first.
# make lock | audit: with tools of their own
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := $(BIN)/python -m mdckit.notebooks run

# glibc hands every large tensor back to the system and pays for fresh pages at the next one: keep them instead.
export MALLOC_MMAP_THRESHOLD_ = 1073741824
export MALLOC_TRIM_THRESHOLD_ = 2147483647

.PHONY: setup demo yoco test lab assignments cifar10 bench fuzz chaos notebooks lock audit clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer needed: make PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[cluster,course,hub,dev]'
	touch $@

demo: setup
	$(RUN) notebooks/00_tour.ipynb results/demo/00_tour.ipynb -p results results/demo
	@$(BIN)/python -m mdckit results/demo/result.json

yoco: setup
	$(RUN) notebooks/21_resize.ipynb results/yoco/21_resize.ipynb -p results results/yoco
	@$(BIN)/python -m mdckit results/yoco/result.json

test: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal --durations 10
	@cat results/grading/*.md
	$(BIN)/nbstripout -t notebooks/02_gradient_matching.ipynb > results/nbval.ipynb
	$(BIN)/python -m pytest -o addopts= --nbval-lax --nbval-current-env results/nbval.ipynb

# damaged and forged files for every reader; SEED=n for others
fuzz: setup
	$(BIN)/python -m tests.fuzz --cases 2000 --seed $(or $(SEED),0)

lab: setup
	$(BIN)/jupyter lab notebooks/00_tour.ipynb

# the student versions of notebooks/assignments, into course/release (or the folder MDCKIT_COURSE)
assignments: setup
	cd notebooks/assignments && for source in a*/; do \
		$(abspath $(BIN))/nbgrader generate_assignment $${source%/} --create --force || exit 1; done

# CIFAR-10 as files of torchvision or as an image folder, under MDCKIT_DATA (see README)
cifar10: setup
	$(RUN) notebooks/20_run.ipynb results/cifar10/20_run.ipynb \
		-f notebooks/params/cifar10_quick.yaml -p results results/cifar10
	@$(BIN)/python -m mdckit results/cifar10/result.json

bench: setup
	$(BIN)/python -m tests.benchmarks

chaos: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.chaos

notebooks: setup
	$(BIN)/python -m mdckit.notebooks refresh notebooks/*.ipynb
	cp results/tour/figures/accuracy.png results/tour/figures/gallery_all_prefixes.png notebooks/figures/
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/browser  # leaves screenshots
	cp results/browser/explorer.png notebooks/figures/
	cp results/browser/live_running.png notebooks/figures/live.png

$(VENV)/tools: Makefile
	$(PYTHON) -m venv $@
	$@/bin/pip install --quiet --disable-pip-version-check uv==0.13.9 pip-audit==2.10.1
	touch $@

# every package of every extra with the hashes of its files, at the versions of constraints.txt; setuptools builds mdckit
lock: $(VENV)/tools
	echo 'setuptools>=77' | $(VENV)/tools/bin/uv pip compile --no-config --quiet --upgrade --generate-hashes \
		--python-version 3.11 --python-platform x86_64-manylinux_2_28 --custom-compile-command 'make lock' \
		--all-extras -c constraints.txt pyproject.toml - -o requirements.lock

# known vulnerabilities of these versions: asks a service on the network
audit: $(VENV)/tools
	$(VENV)/tools/bin/pip-audit -r requirements.lock --require-hashes --disable-pip

clean:
	rm -rf $(VENV) results notebooks/results
