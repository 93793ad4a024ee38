# Everything runs in throwaway Debian 13 machines that tests/bed/bed makes, as root, on Debian 12 or 13.
# Nothing else needs to be installed. `tests/bed/bed --help` says more.

BED := tests/bed/bed
MSG ?=

.DEFAULT_GOAL := help
.PHONY: help run test test-unit test-system soak fuzz test-package deb rpm lint format bench clean

help:            ## list these targets
	@sed -n 's/^\([a-z-]*\): .*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

run: ## boot the appliance and chat with it; MSG='…' asks one question
	@BED_NAME=$${BED_NAME:-run} tests/bed/run '$(subst ','\'',$(MSG))'

test: lint test-unit ## all checks and tests; the packages are tried beside the system tests
	@tests/bed/in-beds --beside 'make --no-print-directory test-package' tests/system $(TESTS)

lint: ## ruff and mypy
	@$(BED) builder -- tests/bed/lint

format: ## let ruff lay out the sources
	@$(BED) builder -- sh -c 'ruff format . && ruff check --fix .'

test-unit: ## unit and property tests, without a bed (TESTS='-k name' narrows them)
	@$(BED) builder -- python3 -m pytest -n 4 --dist loadfile tests/unit $(TESTS)

test-system: ## system tests, shared out over two fresh beds (BEDS=1: in one; TESTS='-k name' or a path; KEEP=1 leaves them up)
	@tests/bed/in-beds tests/system $(TESTS)

soak: ## kill everything at random for a long time, and wait for every back-off (NANOCLAW_SOAK_TURNS, NANOCLAW_SOAK_TOOL_TURNS, NANOCLAW_SOAK_MATRIX, NANOCLAW_SOAK_HOURS, NANOCLAW_SOAK_SEED)
	@BED_NAME=$${BED_NAME:-soak} tests/bed/in-fresh-bed env NANOCLAW_SOAK_TURNS=$${NANOCLAW_SOAK_TURNS:-200} NANOCLAW_SOAK_SEED=$${NANOCLAW_SOAK_SEED:-1} \
		NANOCLAW_SOAK_TOOL_TURNS=$${NANOCLAW_SOAK_TOOL_TURNS:-300} NANOCLAW_SOAK_MATRIX=$${NANOCLAW_SOAK_MATRIX:-200} NANOCLAW_SOAK_HOURS=$${NANOCLAW_SOAK_HOURS:-240} \
		python3 -m pytest -p no:cacheprovider -s /src/tests/system/test_random_kills.py /src/tests/system/test_runner_killed.py /src/tests/system/soak_retries.py /src/tests/system/test_matrix.py \
		/src/tests/system/test_bad_day.py $(TESTS)

fuzz: ## fuzz all readers of frames and messages with atheris (SECONDS=60 for each, TARGETS='card body'; failing inputs: build/fuzz)
	@tests/bed/fuzz --seconds $${SECONDS:-60} $(TARGETS)

test-package: ## install, upgrade, remove and purge the packages in a fresh bed (TESTS='-k name'; KEEP=1 leaves the bed up)
	@$(BED) rpm
	@BED_NAME=$${BED_NAME:-package} tests/bed/in-fresh-bed python3 -m pytest -p no:cacheprovider /src/tests/system_package $(TESTS)

bench: ## measure, in a fresh bed; the result is build/bench.json
	@BED_NAME=$${BED_NAME:-bench} tests/bed/in-fresh-bed python3 /src/tests/bench --json /out/bench.json
	@mkdir -p build && cp "$${BED_HOME:-build/bed}/out/$${BED_NAME:-bench}/bench.json" build/bench.json

deb: ## build the Debian package into build/, checked by lintian
	@$(BED) deb

rpm: ## build the packages for Fedora into build/, checked by rpmlint (RPM_PYTHON=3.15 for Fedora 45)
	@$(BED) rpm $(if $(RPM_PYTHON),--python $(RPM_PYTHON))

clean: ## remove all beds, caches and what was built
	@for bed in $$($(BED) status --names); do BED_NAME=$$bed $(BED) down; done
	rm -rf build
