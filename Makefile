# What is to be done with minictr; `make help` lists it. GNU make.
#
# PYTHON   the interpreter. For test and lint: python3 where it is not given; for install and bench,
#          which write it into a launcher: /usr/bin/python3
# BYTECODE   the interpreters whose bytecode dist puts into the one file; others compile it at each start
# PREFIX, DESTDIR   where install and uninstall work
# KINDS    the virtual machines of test-vm; VM: further options of tests/vm.py, such as --timeout
# ARGS     further arguments for pytest or for the benchmark: make test ARGS="-k proc"

PYTHON ?=
PREFIX ?= /usr/local
DESTDIR ?=
VENV ?= .venv
ARGS ?=

TEST_PYTHON = $(or $(PYTHON),python3)
HOST_PYTHON = $(or $(PYTHON),/usr/bin/python3)
BYTECODE ?= $(TEST_PYTHON)
LIBRARY = $(PREFIX)/lib/minictr
LAUNCHER = $(PREFIX)/bin/minictr

# pytest 8 and hypothesis 6.32 have left Python 3.6 behind; pip finds the last that fits
TEST_REQUIREMENTS = "pytest>=7.0,<10" "hypothesis>=6.31,<7" "jsonschema>=3.2,<5"
# mypy 1.19 is the last that checks as Python 3.9
LINT_REQUIREMENTS = "ruff==0.17.6" "mypy==1.19.1"

# What the tests run beside minictr, judge it by, or make root file systems from
DEBIAN_PACKAGES = apparmor binutils binutils-aarch64-linux-gnu binutils-x86-64-linux-gnu bubblewrap \
	buildah busybox-static catatonit conmon containerd containernetworking-plugins cpp crun dbus-bin \
	dbus-daemon debian-archive-keyring docker.io iproute2 iptables libcap2-bin libseccomp2 \
	linux-libc-dev mmdebstrap mount nftables passwd podman procps pypy3 rootlesskit runc secilc slirp4netns \
	strace uidmap util-linux $(HEADER_PACKAGES)
# The kernel's headers of other architectures, which linux-libc-dev has itself from Debian 13 on
HEADER_PACKAGES = $(if $(wildcard /usr/lib/linux/uapi),, \
	$(patsubst %,linux-libc-dev-%-cross,arm64 armhf ppc64el riscv64 s390x))
PYTHONS = 3.6 3.8 3.11 3.13

# ruff reads no setup.cfg, so its settings are here. 3.7 is the oldest Python it knows; none of its
# rules that modernise (UP) is chosen, as the code must stay readable to 3.6.
RUFF = --isolated --line-length 110 --target-version py37
RUFF_RULES = A,B,C4,E,F,I,ISC,N,PIE,PLE,PLW,RUF100,W
# A002, A005: arguments are called `type` where the kernel calls them so. B006: hints={} is never
# changed. PLW1509: no thread is ever started. B904, C420, N801, N818, PLW0603, PLW1510, PLW1641,
# PLW2901: taste. B018 in tests: `result.ok` raises where the result is not
RUFF_IGNORE = A002,A005,B006,B904,C420,N801,N818,PLW0603,PLW1509,PLW1510,PLW1641,PLW2901
SOURCES = minictr tests

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help test test-resources test-vm test-pythons lint format bench dist install uninstall clean packages

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' Makefile

# $(call venv,FOLDER,REQUIREMENTS): the virtual environment, made anew where Python or needs changed
define venv
	@set -e; \
	id=$$($(TEST_PYTHON) -c 'import os, sys; print(os.path.realpath(sys.executable), sys.version)'); \
	id=$$(printf '%s\n%s' "$$id" '$(2)'); \
	if [ "$$id" != "$$(cat $(1)/made-of 2>/dev/null)" ]; then \
		rm -rf $(1); \
		$(TEST_PYTHON) -m venv $(1); \
		$(1)/bin/python -m pip install -q --disable-pip-version-check "pip>=21,<22; python_version < '3.7'"; \
		$(1)/bin/python -m pip install -q --disable-pip-version-check $(2); \
		printf '%s\n' "$$id" >$(1)/made-of; \
	fi
endef

# $(call apt,PACKAGES): get those that are missing, as root where there is apt; else name them.
# python3-venv: Debian's python3 cannot make a virtual environment without it. No daemon among them is
# started (policy-rc.d: 101 is "not allowed"), now or with the machine: the tests start their own. Docker's
# client is a package of its own as of Debian 13.
define apt
	@missing=; \
	if command -v dpkg-query >/dev/null; then \
		for package in $(1); do \
			[ "$$(dpkg-query -W -f '$${db:Status-Status}' $$package 2>/dev/null)" = installed ] \
				|| missing="$$missing $$package"; \
		done; \
		$(TEST_PYTHON) -c 'import ensurepip' 2>/dev/null || missing="$$missing python3-venv"; \
	fi; \
	if [ -z "$$missing" ]; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "apt-get install$$missing"; \
		export DEBIAN_FRONTEND=noninteractive policy=/usr/sbin/policy-rc.d; \
		[ -e $$policy ] || { trap "rm -f $$policy" EXIT; \
			printf '#!/bin/sh\nexit 101\n' >$$policy; chmod 755 $$policy; }; \
		{ apt-get -qq update && apt-get -qq -y --no-install-recommends install$$missing \
			$$(apt-cache pkgnames docker-cli | grep -x docker-cli); } \
			</dev/null >/dev/null || echo "could not install$$missing: some tests will be skipped"; \
		units=$$(dpkg-query -L$$missing 2>/dev/null | sed -n 's|.*/systemd/system/||p'); \
		[ -z "$$units" ] || systemctl -q disable $$units 2>/dev/null || :; \
	else \
		echo "not installed, some tests will be skipped:$$missing"; \
	fi
endef

packages:
	$(call apt,$(DEBIAN_PACKAGES))

test: packages ## run all tests in a virtual environment of their own (PYTHON=, ARGS=)
	$(call venv,$(VENV),$(TEST_REQUIREMENTS))
	@$(VENV)/bin/python -m pytest $(ARGS)

# Limits, cgroups and their verbs on the kernel at hand: to be called on a host of each cgroup version
RESOURCE_TESTS = tests/unit/test_resources.py tests/unit/test_cgroup.py tests/namespaces/test_cgroup_kernel.py \
	tests/namespaces/test_run_limits.py tests/oci/test_control.py

test-resources: packages ## run the tests of limits and cgroups alone (PYTHON=, ARGS=)
	$(call venv,$(VENV),$(TEST_REQUIREMENTS))
	@$(VENV)/bin/python -m pytest $(RESOURCE_TESTS) $(ARGS)

# What makes and runs virtual machines; what is in them is in tests/vm.py
VM_PACKAGES = debian-archive-keyring e2fsprogs mmdebstrap \
	$(if $(filter aarch64,$(shell uname -m)),qemu-system-arm,qemu-system-x86)
KINDS ?= v2 podman cri apparmor selinux nouserns initramfs
VM ?=

test-vm: ## run tests in virtual machines, each another set-up of Linux (KINDS=, VM=, ARGS=)
	$(call apt,$(VM_PACKAGES))
	@$(TEST_PYTHON) tests/vm.py $(VM) $(KINDS) -- $(ARGS)

test-pythons: ## run all tests on each of several Pythons that pyenv or PATH has (PYTHONS=)
	@failed=; \
	for version in $(PYTHONS); do \
		python=$$(ls -d "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/$$version.*/bin/python3 2>/dev/null | tail -n 1); \
		python=$${python:-$$(command -v python$$version)}; \
		if ! "$$python" -c '' 2>/dev/null; then \
			echo "== Python $$version: skipped, neither pyenv nor PATH has it"; \
			continue; \
		fi; \
		echo "== Python $$version: $$python"; \
		$(MAKE) --no-print-directory test PYTHON="$$python" VENV=.venv-$$version || failed="$$failed $$version"; \
	done; \
	if [ -n "$$failed" ]; then echo "failed on:$$failed"; exit 1; fi

lint: ## check style and types with ruff and mypy
	$(call apt,)
	$(call venv,.venv-lint,$(LINT_REQUIREMENTS))
	@failed=; \
	.venv-lint/bin/ruff check -q --output-format concise $(RUFF) \
		--select $(RUFF_RULES) --ignore $(RUFF_IGNORE) --per-file-ignores 'tests/*:B018' $(SOURCES) \
		|| failed="$$failed ruff-check"; \
	.venv-lint/bin/ruff format -q $(RUFF) --diff $(SOURCES) || failed="$$failed ruff-format"; \
	.venv-lint/bin/mypy || failed="$$failed mypy"; \
	if [ -n "$$failed" ]; then echo "lint failed:$$failed"; exit 1; fi

format: ## put the sources into the form that lint asks for
	$(call apt,)
	$(call venv,.venv-lint,$(LINT_REQUIREMENTS))
	.venv-lint/bin/ruff check $(RUFF) --select I --fix $(SOURCES)
	.venv-lint/bin/ruff format $(RUFF) $(SOURCES)

bench: ## measure start-up and memory beside runc, crun, bwrap and unshare (ARGS=)
	$(call apt,$(DEBIAN_PACKAGES))
	@$(HOST_PYTHON) tests/bench.py $(ARGS)
	@$(HOST_PYTHON) tests/bench_verbs.py

dist: ## build dist/minictr.pyz, the whole program in one file (BYTECODE=)
	$(TEST_PYTHON) -IS minictr/doors.py dist dist/minictr.pyz minictr $(BYTECODE)

# $(call quoted,TEXT): as one word for the shell, whatever is in it
quoted = '$(subst ','\'',$1)'

# The bytecode is not checked against the sources' times, which image builders and read-only disks
# change.
install: ## install a launcher and the compiled package (PREFIX=, DESTDIR=, PYTHON=)
	@case $(call quoted,$(HOST_PYTHON)) in \
		*[[:space:]]*) echo "PYTHON must be a path without blanks: the launcher's first line has no quotes" >&2; \
			exit 1;; \
		/*) ;; \
		*) echo "PYTHON must be an absolute path" >&2; exit 1;; esac
	@case $(call quoted,$(PREFIX)) in /*) ;; *) echo "PREFIX must be an absolute path" >&2; exit 1;; esac
	install -d -m 755 $(call quoted,$(DESTDIR)$(PREFIX)/bin) $(call quoted,$(DESTDIR)$(LIBRARY))
	rm -rf $(call quoted,$(DESTDIR)$(LIBRARY)/minictr)
	install -d -m 755 $(call quoted,$(DESTDIR)$(LIBRARY)/minictr)
	install -m 644 minictr/*.py $(call quoted,$(DESTDIR)$(LIBRARY)/minictr)
	cd / && $(HOST_PYTHON) -IS -m compileall -q -d $(call quoted,$(LIBRARY)/minictr) \
		$$($(HOST_PYTHON) -IS -c 'import sys; sys.version_info >= (3, 7) and print("--invalidation-mode=unchecked-hash")') \
		$(call quoted,$(DESTDIR)$(LIBRARY)/minictr)
	cd / && $(HOST_PYTHON) -IS $(call quoted,$(DESTDIR)$(LIBRARY)/minictr/doors.py) install \
		$(call quoted,$(HOST_PYTHON)) $(call quoted,$(LIBRARY)) $(call quoted,$(DESTDIR)) $(call quoted,$(LAUNCHER))
	chmod -R u+rwX,go=rX $(call quoted,$(DESTDIR)$(LIBRARY))

uninstall: ## remove what install made (PREFIX=, DESTDIR=)
	rm -rf $(call quoted,$(DESTDIR)$(LIBRARY)) $(call quoted,$(DESTDIR)$(LAUNCHER))

clean: ## remove everything that make made here
	rm -rf .venv .venv-* build dist minictr.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find minictr tests -name __pycache__ -prune -exec rm -rf {} +
