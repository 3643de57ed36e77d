# make demo   own virtual environment, install, run the whole job on drawn images, say where the report is
# make test   the tests          make check   what CI runs: lint and tests          make clean   undo everything
# make lint   lint, the format of Python and C++, types                              make format  puts them in that format
# make test-gpu    the tests of the CUDA kernels and the training step, on a GPU
# make test-browser the tests of the web page in Chromium or Chrome, with axe-core (needs npm)
# make oldest the tests with the oldest versions of all packages that pyproject.toml allows, in .venv-oldest
# make kernels     the tests of the C++ as it is for other processors and compilers: each of the six targets below
# make test-conditions  all tests three times: held to AVX2, with Clang, and without a compiler
# make wheel  the wheel and the sdist, in dist/                make smoke  installs the wheel elsewhere and works with it
# make site   the documentation as a site that needs no network, in site/
# make audit  what is known against the installed packages (asks PyPI's advisory database)
#
# PYTHON=python3.12       another Python (3.11 or newer)
# TORCH_INDEX=URL         another index for PyTorch, such as https://download.pytorch.org/whl/cpu on Linux,
#                         whose wheels are far smaller for machines without a GPU

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

# What has been done is remembered under the checksum of everything it depends on.
checksum = $(shell find $(1) -type f ! -name '*.py[co]' ! -path '*.egg-info/*' | LC_ALL=C sort | xargs cksum | cksum | tr -d ' ')
DEMO_MADE := demo/.made-$(call checksum,src pyproject.toml)
TESTED := src tests pyproject.toml $(wildcard benchmarks campaigns docs *.md *.cff .github)
TESTS_PASSED := $(VENV)/tests-passed-$(call checksum,$(TESTED))
IN_PARALLEL := -n 2 --dist loadfile  # two processes, each with whole files: most tests use one core
CPP = $(shell find src tests -name '*.h' -o -name '*.cpp')

.PHONY: demo test test-gpu test-browser oldest audit lint format check wheel smoke site clean

demo: $(DEMO_MADE)
	@echo "The report is $(CURDIR)/demo/report.html"
	@echo "Look inside the network, in a browser: $(BIN)/alexnet explore demo/run --data demo/store"

$(DEMO_MADE): | $(VENV)/installed
	@if ls demo/.made-* >/dev/null 2>&1; then echo "The program has changed: another demonstration."; rm -rf demo; fi
	$(BIN)/alexnet demo --out demo
	@touch $@

test: $(TESTS_PASSED)
	@:

ifneq ($(wildcard $(TESTS_PASSED)),)
test: passed-before
.PHONY: passed-before
passed-before:
	@echo "All tests passed and nothing has changed since; rm $(TESTS_PASSED) to run them again."
endif

$(TESTS_PASSED): | $(VENV)/installed-test
	@rm -f $(VENV)/tests-passed-*
	$(BIN)/python -m pytest $(IN_PARALLEL)
	@touch $@

test-gpu: | $(VENV)/installed-test
	$(BIN)/python -m pytest --device cuda tests/model/cuda tests/training/test_cuda_step.py

test-browser: | $(VENV)/installed-test
	$(PIP) playwright
	mkdir -p .axe && cd .axe && npm pack --silent axe-core && tar xzf axe-core-*.tgz
	ALEXNET_CHROMIUM="$${ALEXNET_CHROMIUM:-$$(command -v chromium || command -v google-chrome)}" \
	  ALEXNET_AXE=.axe/package/axe.min.js $(BIN)/python -m pytest tests/explore/test_browser.py

lint: | $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(CPP)
	$(BIN)/pyright

format: | $(VENV)/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CPP)

check: lint test

wheel: | $(VENV)/installed-dev
	$(BIN)/python -m build --outdir dist

site: | $(VENV)/installed-dev
	$(BIN)/python .ci/site.py
	@echo "Look at it with: python3 -m http.server --directory site"

smoke: | $(VENV)/installed-test
	rm -rf .smoke
	TORCH_INDEX=$(TORCH_INDEX) $(BIN)/python .ci/smoke.py .smoke

# Old packages warn of newer ones beneath them, which is no failure here.
oldest: | .venv-oldest/installed
	.venv-oldest/bin/python -m pytest $(IN_PARALLEL) -W default

.venv-oldest/installed: pyproject.toml
	@rm -rf .venv-oldest
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	  [print(each.replace(">=", "==")) for each in p["dependencies"] + p["optional-dependencies"]["test"]]' \
	  > .venv-oldest/constraints.txt
	.venv-oldest/bin/python -m pip install --disable-pip-version-check -c .venv-oldest/constraints.txt -e '.[test]' \
	  $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
	@touch $@

# The tests of the C++ kernels, built with other instructions, by another compiler, and with gcc's sanitizers. PyTorch's
# own libraries are held to AVX2 as well. On aarch64 the kernels alone run in an emulator (tests/kernel_server.py).
TEST_KERNELS := $(BIN)/python -m pytest tests/model
TEST_CPP := $(TEST_KERNELS) tests/data/image
WITH_AVX2 := CXX="g++ -mno-avx512f" ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2
WITH_CLANG := CXX=clang++
WITH_NONE := CXX=/nowhere
SANITIZERS := -fsanitize=address,undefined -fno-sanitize-recover=undefined -mno-avx512f  # it does not see masked loads
SANITIZER_LIBRARIES = $(shell g++ -print-file-name=libasan.so) $(shell g++ -print-file-name=libstdc++.so)

kernels-avx2: | $(VENV)/installed-test
	$(WITH_AVX2) $(TEST_CPP)
kernels-sse2: | $(VENV)/installed-test
	CXX="g++ -march=x86-64" $(TEST_CPP)
kernels-clang: | $(VENV)/installed-test
	$(WITH_CLANG) $(TEST_CPP)
kernels-none: | $(VENV)/installed-test
	$(WITH_NONE) $(TEST_CPP)
kernels-sanitized: | $(VENV)/installed-test
	CXX="g++ $(SANITIZERS)" LD_PRELOAD="$(SANITIZER_LIBRARIES)" ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc $(TEST_CPP) -s
kernels-aarch64: | $(VENV)/installed-test
	$(TEST_KERNELS) -p tests.kernel_server --kernel-compiler "aarch64-linux-gnu-g++ -static" --kernel-runner qemu-aarch64

KERNELS := kernels-avx2 kernels-sse2 kernels-clang kernels-none kernels-sanitized kernels-aarch64
.PHONY: kernels $(KERNELS)
kernels: $(KERNELS)

# All tests, where the conditions reach further than the kernels: other numbers, and no library at all.
CONDITIONS := test-avx2 test-clang test-none
.PHONY: test-conditions $(CONDITIONS)
test-conditions: $(CONDITIONS)
test-avx2: | $(VENV)/installed-test
	$(WITH_AVX2) $(BIN)/python -m pytest $(IN_PARALLEL)
test-clang: | $(VENV)/installed-test
	$(WITH_CLANG) $(BIN)/python -m pytest $(IN_PARALLEL)
test-none: | $(VENV)/installed-test
	$(WITH_NONE) $(BIN)/python -m pytest $(IN_PARALLEL)

audit: | $(VENV)/installed-test
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python -m pip install --disable-pip-version-check pip-audit
	$(BIN)/python -m pip freeze --exclude-editable | sed 's/+[a-z0-9.]*$$//' > .venv-audit/requirements.txt
	.venv-audit/bin/pip-audit --strict -r .venv-audit/requirements.txt --no-deps --disable-pip || \
	  { echo "Not audited, or not clean: see the last line above. A package that the database does not know, and a" \
	  "database that cannot be reached, count as not audited." >&2; exit 1; }

clean:
	rm -rf $(VENV) .venv-oldest .venv-audit .smoke .axe .site site demo build dist src/*.egg-info .pytest_cache .ruff_cache
	find src tests -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is not Python 3.11 or newer; name one that is: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/installed: pyproject.toml | $(VENV)/made
	$(PIP) -e '.[explore]'
	@touch $@

$(VENV)/installed-test: pyproject.toml | $(VENV)/made
	$(PIP) -e '.[test]'
	@touch $(VENV)/installed $@

$(VENV)/installed-dev: pyproject.toml | $(VENV)/made
	$(PIP) -e '.[test,dev]'
	@touch $(VENV)/installed $(VENV)/installed-test $@
