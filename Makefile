# The commands of daily work. `make help` lists them.

.PHONY: help docs cli-reference demo test bench fleet microbench chaos chaos-two-way failpoints simulate fuzz schemathesis format lint clean

RELEASE = -c release --static-swift-stdlib --product drover

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: ## watch rows travel from a machine's database to the cloud (DEMO_SECONDS=30, 0 until Ctrl-C; DEMO_CSV=file)
	@scripts/demo

test: ## install what is missing, build, run all tests
	scripts/install-packages test
	swift build --build-tests
	TMPDIR=$$(scripts/test-folder) swift test --skip-build

bench: ## measure this computer with a release build (BENCH='--events 1000000 --compression deflate')
	scripts/install-packages postgresql
	swift build $(RELEASE)
	$$(swift build $(RELEASE) --show-bin-path)/drover bench $(BENCH)

fleet: ## simulate many machines with a real broker and a real consumer (FLEET='--machines 1000 --rate 1')
	scripts/install-packages
	swift build $(RELEASE)
	$$(swift build $(RELEASE) --show-bin-path)/drover simulate-fleet $(or $(FLEET),--machines 1000 --rate 1)

microbench: ## measure the hot loops one by one (MICROBENCH='--filter frame')
	scripts/install-packages
	swift build -c release --product drover-benchmarks
	$$(swift build -c release --product drover-benchmarks --show-bin-path)/drover-benchmarks $(MICROBENCH)

chaos: ## kill all processes again and again while apps write, then compare (KILLS=1000, SEED=number, CHAOS='--restore-cloud --restore-edge' or '--store postgresql --consumers 3')
	@scripts/chaos --kills $(or $(KILLS),1000) $(if $(SEED),--seed $(SEED)) $(CHAOS)

chaos-two-way: ## the same for rows that both sides edit (KILLS=100, SEED=number, CHAOS='--restores' or '--restores --store postgresql --consumers 3')
	@DROVER=$${DROVER:-$$(swift build --show-bin-path)/drover} scripts/chaos-two-way --kills $(or $(KILLS),100) $(if $(SEED),--seed $(SEED)) $(CHAOS)

failpoints: ## make each change of the disk fail once, and check the databases each time (FAILPOINTS='--program agent --kind full')
	@scripts/failpoints $(FAILPOINTS)
	@scripts/failpoints --small-disk

simulate: ## run the simulation with many seeds, see docs/simulation.md (SEEDS=100000, FIRST=1, OPTIONS="--fault drop=500")
	swift build -c release --product drover-simulate
	.build/release/drover-simulate --seeds $(or $(SEEDS),1000) --first $(or $(FIRST),1) $(OPTIONS)

fuzz: ## feed mutated documents to every decoder and both sides (FUZZ='--seconds 3600 --seed 1')
	swift build -c release --product drover-fuzz
	.build/release/drover-fuzz $(FUZZ)

schemathesis: ## test both HTTP servers against their OpenAPI documents (SCHEMATHESIS='--max-examples 500')
	@scripts/schemathesis

format: ## rewrite the Swift code in the project's format
	swift format --in-place --recursive Benchmarks Sources Tests Package.swift

lint: ## check the format of the Swift code
	swift format lint --strict --recursive Benchmarks Sources Tests Package.swift

docs: ## the documentation as a site in .build/site
	@scripts/docs

cli-reference: ## write docs/reference/cli.md again from the program's help
	swift build --product drover
	scripts/cli-reference "$$(swift build --show-bin-path)/drover" > .build/cli.md
	mv .build/cli.md docs/reference/cli.md

clean: ## remove what was built
	swift package clean
