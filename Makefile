# Alphar.  `make` builds build/alphar and build/libalphar.{a,so}; see `make help`.
#
#   CC=clang make          another compiler            make WERROR=1     warnings are errors (as in CI)
#   BUILD=dir make         another output folder       make PREFIX=/usr install
#   make CUDA=1            kernels for GPUs, beside it: libalphar-cuda.so (docs/cuda.md)
#   make V=1               whole command lines     make MPI=1        training over several machines, built into build/mpi/

ifeq ($(origin CC),default)
CC := gcc
endif
MPI     ?=
BUILD   ?= build$(if $(MPI),/mpi)
# Two files of a build with MPI differ from those of one without; the other objects are one without's, where it stands inside of it.
PLAIN   := $(if $(MPI),$(patsubst %/mpi,%,$(BUILD)),$(BUILD))
PREFIX  ?= /usr/local
DESTDIR ?=
VERSION := 0.1.0
SONAME  := libalphar.so.0

# Where `make install` puts things; each can be given, and DESTDIR stands before all of them.
BINDIR       ?= $(PREFIX)/bin
LIBDIR       ?= $(PREFIX)/lib
INCLUDEDIR   ?= $(PREFIX)/include
DATADIR      ?= $(PREFIX)/share
MANDIR       ?= $(DATADIR)/man
DOCDIR       ?= $(DATADIR)/doc/alphar
PKGCONFIGDIR ?= $(LIBDIR)/pkgconfig
BASHDIR      ?= $(DATADIR)/bash-completion/completions
ZSHDIR       ?= $(DATADIR)/zsh/site-functions
FISHDIR      ?= $(DATADIR)/fish/vendor_completions.d
INSTALL      ?= install
PKG_CONFIG   ?= pkg-config

# By their pkg-config names: the library's, of which the linear algebra stands apart (see LIBS_PRIVATE), and the program's.
REQUIRES := jansson libpcre2-8 libutf8proc sqlite3
ALGEBRA  := lapacke openblas
PACKAGES := $(REQUIRES) yaml-0.1 libedit $(ALGEBRA) $(if $(MPI),ompi-c)
# zlib1g-dev: sqlite3.pc asks for it in static links, and its package does not bring it.
DEB_PACKAGES := gcc make pkg-config libjansson-dev libyaml-dev libedit-dev libpcre2-dev libutf8proc-dev libsqlite3-dev \
                libopenblas-openmp-dev liblapacke-dev libcmocka-dev zlib1g-dev $(if $(MPI),libopenmpi-dev openmpi-bin)

OPT      ?= -O2 -g
WARN     := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wundef
ifdef WERROR
WARN     += -Werror
endif
SANITIZE ?=
CFLAGS_  := -std=c17 -D_GNU_SOURCE $(OPT) $(WARN) $(SANITIZE) -fPIC -fopenmp -fvisibility=hidden \
            -ffp-contract=off -fno-math-errno -Iinclude -Isrc $(CFLAGS)

# Asked when the first recipe needs it, and once: on a bare machine the packages come during this very run of make.
package_cflags = $(eval package_cflags := $$(shell $(PKG_CONFIG) --cflags $(filter-out ompi-c,$(PACKAGES))))$(package_cflags)
mpi_cflags     = $(eval mpi_cflags := $$(shell $(PKG_CONFIG) --cflags ompi-c))$(mpi_cflags)
package_libs   = $(eval package_libs := $$(shell $(PKG_CONFIG) --libs $(PACKAGES)))$(package_libs)
COMPILE = $(CC) $(CFLAGS_) $(package_cflags)
LDLIBS_ = $(SANITIZE) $(LDFLAGS) -fopenmp $(package_libs) -lm -lpthread
# A library that lacks one of its own is refused at its link, not at its user's.  (Sanitizers come with the program.)
NO_GAPS = $(if $(SANITIZE),,-Wl,-z,defs)

# $(call note,CC) says in a word what the quiet line below it makes; V=1 shows that line instead.
V    ?=
Q    := $(if $(V),,@)
note = $(if $(V),,@printf '  %-4s %s\n' $(1) $@)

ARCH := $(shell uname -m)
SRC  := $(sort $(wildcard src/*/*.c src/*/*/*.c))
X86  := %_avx2.c %_avx512.c %_avx512bf16.c %_amx.c
ifneq ($(ARCH),x86_64)
SRC  := $(filter-out $(X86),$(SRC))
endif
ifneq ($(ARCH),aarch64)
SRC  := $(filter-out %_neon.c,$(SRC))
endif
# One filling of the seam between ranks (src/train/comm.h).
SRC  := $(filter-out $(if $(MPI),%/comm_none.c,%/comm_mpi.c %/comm_mpi_carry.c),$(SRC))
CLI  := $(sort $(wildcard cli/*.c))
UNIT := $(sort $(wildcard tests/unit/test_*.c))
OBJ      := $(foreach c,$(SRC:.c=.o),$(if $(findstring /comm_mpi,$(c)),$(BUILD),$(PLAIN))/$(c))
CLI_OBJ  := $(CLI:%.c=$(PLAIN)/%.o)
UNIT_BIN := $(UNIT:tests/unit/%.c=$(BUILD)/tests/%)
TEST_OBJ := $(patsubst %.c,$(BUILD)/%.o,$(sort $(filter-out $(UNIT),$(wildcard tests/unit/*.c)) tests/blocks.c))
FUZZ     := $(patsubst fuzz/fuzz_%.c,%,$(sort $(wildcard fuzz/fuzz_*.c)))
FUZZ_BIN := $(FUZZ:%=$(BUILD)/tests/fuzz_%)
FUZZ_SECONDS ?= 60
CHECKASM_SRC := $(sort $(wildcard tests/checkasm/*.c) tests/blocks.c)
ifneq ($(ARCH),x86_64)
CHECKASM_SRC := $(filter-out $(X86),$(CHECKASM_SRC))
endif
CHECKASM := $(CHECKASM_SRC:%.c=$(BUILD)/%.o)
BENCH_BIN := $(patsubst bench/%.c,$(BUILD)/bench/%,$(sort $(wildcard bench/bench_*.c)))

# ---- a device ------------------------------------------------------------------------------------------------
# src/ops/cuda is a library of its own, opened at run time: built with CUDA=1 by nvcc; for tests by a C++ compiler with tests/emulator in
# the toolkit's place.  It brings what it needs of the library, so that whoever opens it need not export anything.
CUDA      ?=
NVCC      ?= nvcc
CXX       ?= c++
CUDA_SRC  := $(sort $(wildcard src/ops/cuda/*.cu))
CUDA_WITH := $(patsubst %,$(BUILD)/src/%.o,base/fail base/mem base/rng kern/dtype kern/grids kern/grids_table kern/pack_k kern/pack_nf4 \
               kern/pack_simple ops/shapes)
# Machine code for these, of those that this nvcc knows, and intermediate code of the first and the last for others and what comes later.
CUDA_ARCHS ?= 80 86 89 90a 120
cuda_known  = $(eval cuda_known := $$(filter $$(CUDA_ARCHS:%=compute_%),$$(shell $(NVCC) --list-gpu-arch) compute_90a))$(cuda_known)
cuda_codes  = $(foreach a,$(cuda_known),-gencode arch=$(a),code=$(a:compute_%=sm_%)) $(foreach a,$(firstword $(cuda_known)) $(lastword $(cuda_known)),-gencode arch=$(a),code=$(a))
NVCCFLAGS  ?= -O3
CUDA_LIBRARY := $(BUILD)/libalphar-cuda.so

comma := ,

.PHONY: all help emulated deps deps-check test-deps-check fortran-check demo demo-alpha test fresh unit checkasm-arm64 checkasm-arm64-ready lint format asan fuzz fuzz-programs bench static install uninstall clean
.DELETE_ON_ERROR:
.SECONDARY:

all: deps-check $(BUILD)/alphar $(BUILD)/libalphar.a $(BUILD)/libalphar.so $(BUILD)/share/done $(if $(CUDA),$(CUDA_LIBRARY))

help:
	@echo 'make            build the program and the library into $(BUILD)/'
	@echo 'make deps       install what the build needs (apt, Debian 12 and 13)'
	@echo 'make demo       fine-tune the embedded model, generate at several alphas (a minute)'
	@echo 'make demo-alpha which alpha?  A sweep, a fit, what each alpha forgets, and a page about it (two minutes)'
	@echo 'make test       all tests'
	@echo 'make fresh      make demo and make test on bare Debian systems, SUITES="bookworm trixie" (root, debootstrap)'
	@echo 'make asan       the unit and command tests under address and undefined-behaviour sanitizers'
	@echo 'make checkasm-arm64   the kernels on aarch64, under qemu'
	@echo 'make lint       layers, formatting, clang-tidy, warnings'
	@echo 'make fuzz       libFuzzer on every reader, FUZZ_SECONDS=$(FUZZ_SECONDS) each (needs clang)'
	@echo 'make bench      paired benchmarks; PARTS="products machine …" for some of them'
	@echo 'make CUDA=1     and $(BUILD)/libalphar-cuda.so, for NVIDIA GPUs, by nvcc (docs/cuda.md)'
	@echo 'make MPI=1      with Open MPI, for several machines, into $(BUILD)/mpi/ (docs/machines.md)'
	@echo 'make install    PREFIX=$(PREFIX) DESTDIR=$(DESTDIR); LIBDIR, MANDIR … as in the Makefile; make uninstall takes it away'
	@echo 'make static     $(BUILD)/alphar-static, one file without shared libraries (needs gfortran)'

deps:
	@tools/install-deps $(DEB_PACKAGES) $(DEPS_EXTRA)

# What is built waits for these: they install what is missing, or say what to install and end the run.
have_packages = command -v $(firstword $(CC)) >/dev/null && $(PKG_CONFIG) --exists $(1) 2>/dev/null
deps-check:
	@{ $(call have_packages,$(PACKAGES)); } || tools/install-deps $(DEB_PACKAGES)
	@$(PKG_CONFIG) --print-errors --exists $(PACKAGES)

test-deps-check: deps-check
	@{ $(call have_packages,cmocka zlib); } || tools/install-deps $(DEB_PACKAGES)

# ---- compiling -----------------------------------------------------------------------------------------------
# A kernel file is named after its ISA; only these files may use its instructions.
$(PLAIN)/src/kern/%_avx2.o:   ISA := -mavx2 -mfma -mf16c -O3
AVX512 := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mf16c -mprefer-vector-width=512 -O3
$(PLAIN)/src/kern/%_avx512bf16.o: ISA := $(AVX512) -mavx512bf16
$(PLAIN)/src/kern/%_amx.o:    ISA := $(AVX512) -mavx512bf16 -mamx-tile -mamx-bf16
$(BUILD)/tests/checkasm/%_avx512.o: ISA := $(AVX512) -mavx512bf16 -mamx-tile -mamx-bf16
$(PLAIN)/src/kern/%_avx512.o: ISA := $(AVX512)

ifneq ($(MPI),)
$(filter $(BUILD)/src/train/comm_mpi%,$(OBJ)): ISA = $(mpi_cflags)
endif

define compile_one
	$(call note,CC)
	@mkdir -p $(@D)
	$(Q)$(COMPILE) $(ISA) -MMD -MP -c -o $@ $<
endef
$(BUILD)/%.o: %.c Makefile | deps-check
	$(compile_one)
ifneq ($(PLAIN),$(BUILD))
$(PLAIN)/%.o: %.c Makefile | deps-check
	$(compile_one)
endif

$(UNIT:%.c=$(BUILD)/%.o) $(TEST_OBJ): | test-deps-check

$(BUILD)/libalphar.a: $(OBJ)
	$(call note,AR)
	$(Q)rm -f $@ && $(AR) rcs $@ $(OBJ)

# As it is installed: the file by its version, a link by its soname for the loader, a link without for the linker.
SO := libalphar.so.$(VERSION)
$(BUILD)/$(SO): $(OBJ)
	$(call note,LINK)
	$(Q)$(CC) -shared -Wl,-soname,$(SONAME) $(NO_GAPS) -o $@ $(OBJ) $(LDLIBS_)

$(BUILD)/libalphar.so: $(BUILD)/$(SO)
	$(Q)ln -sf $(SO) $(BUILD)/$(SONAME) && ln -sf $(SONAME) $@

$(BUILD)/alphar: $(CLI_OBJ) $(BUILD)/libalphar.a
	$(call note,LINK)
	$(Q)$(CC) -o $@ $(CLI_OBJ) $(BUILD)/libalphar.a $(LDLIBS_)

$(BUILD)/cuda/%.o: %.cu Makefile
	$(call note,NVCC)
	@mkdir -p $(@D)
	$(Q)$(NVCC) -std=c++20 $(NVCCFLAGS) $(cuda_codes) -Xcompiler -fPIC,-fvisibility=hidden,-Wall,-Wextra$(if $(WERROR),$(comma)-Werror) $(if $(WERROR),-Werror all-warnings) \
	  -Iinclude -Isrc -MMD -MP -c -o $@ $<

$(CUDA_LIBRARY): $(CUDA_SRC:%.cu=$(BUILD)/cuda/%.o) $(CUDA_WITH)
	$(call note,LINK)
	$(Q)$(NVCC) -shared -cudart static -o $@ $^ -Xlinker -z,defs -ldl -lm

$(BUILD)/emulated/%.o: %.cu Makefile
	$(call note,CXX)
	@mkdir -p $(@D)
	$(Q)$(CXX) -x c++ -std=c++20 $(OPT) -Wall -Wextra $(if $(WERROR),-Werror) $(SANITIZE) -fPIC -fvisibility=hidden -Itests/emulator -Iinclude -Isrc -MMD -MP -c -o $@ $<

$(BUILD)/emulated/%.o: %.cc Makefile
	$(call note,CXX)
	@mkdir -p $(@D)
	$(Q)$(CXX) -std=c++20 $(OPT) -Wall -Wextra $(if $(WERROR),-Werror) $(SANITIZE) -fPIC -fvisibility=hidden -Iinclude -Isrc -MMD -MP -c -o $@ $<

$(BUILD)/emulated/libalphar-cuda.so: $(CUDA_SRC:%.cu=$(BUILD)/emulated/%.o) $(BUILD)/emulated/tests/emulator/emulator.o $(CUDA_WITH)
	$(call note,LINK)
	$(Q)$(CXX) -shared $(SANITIZE) $(NO_GAPS) -o $@ $^ -ldl -lm

$(BUILD)/emulated/around.so: $(BUILD)/emulated/tests/emulator/around.o
	$(call note,LINK)
	$(Q)$(CXX) -shared $(SANITIZE) -o $@ $^

# What tests of the device run on: the emulated library, and the table around it.
emulated: $(BUILD)/emulated/libalphar-cuda.so $(BUILD)/emulated/around.so

# Man pages and completion, which the program makes from its own option tables.
COMMANDS := $(CLI:cli/cmd_%.c=%)
COMMANDS := $(sort $(filter-out cli/%,$(COMMANDS)))
$(BUILD)/share/done: $(BUILD)/alphar
	$(call note,GEN)
	@mkdir -p $(@D)
	$(Q)$(BUILD)/alphar help --man >$(@D)/alphar.1
	$(Q)for c in $(COMMANDS); do $(BUILD)/alphar help --man $$c >$(@D)/alphar-$$c.1 || exit 1; done
	$(Q)for s in bash zsh fish; do $(BUILD)/alphar help --completion $$s >$(@D)/alphar.$$s || exit 1; done
	@touch $@

# One file that needs no other: for a machine whose libraries are older.  The static OpenBLAS wants gfortran's library.
FORTRAN_LIBS = $(foreach l,gfortran quadmath,$(if $(filter /%,$(shell $(CC) -print-file-name=lib$(l).a)),-l$(l)))
fortran-check:
	$(if $(FORTRAN_LIBS),,@tools/install-deps gfortran)
static: $(BUILD)/alphar-static
$(BUILD)/alphar-static: $(CLI_OBJ) $(BUILD)/libalphar.a | fortran-check
	$(call note,LINK)
	$(Q)$(CC) -static -o $@ $(CLI_OBJ) $(BUILD)/libalphar.a $(LDFLAGS) -fopenmp \
	  $$($(PKG_CONFIG) --static --libs $(REQUIRES) yaml-0.1 libedit) $$($(PKG_CONFIG) --libs $(ALGEBRA)) $(FORTRAN_LIBS) -lm -lpthread

$(BUILD)/tests/%: $(BUILD)/tests/unit/%.o $(TEST_OBJ) $(BUILD)/libalphar.a
	$(call note,LINK)
	@mkdir -p $(@D)
	$(Q)$(CC) -o $@ $< $(TEST_OBJ) $(BUILD)/libalphar.a -lcmocka $(LDLIBS_)

$(BUILD)/checkasm: $(CHECKASM) $(BUILD)/libalphar.a
	$(call note,LINK)
	$(Q)$(CC) -o $@ $(CHECKASM) $(BUILD)/libalphar.a $(LDLIBS_) -ldl

# A fuzz target twice: over its seeds as a test, and with libFuzzer.  Both see maps as heap blocks (fuzz/fuzz.c).
FUZZ_WRAP := $(foreach f,open close forget,-Wl,--wrap=ar__filemap_$(f))
$(BUILD)/tests/fuzz_%: $(BUILD)/fuzz/fuzz_%.o $(BUILD)/fuzz/fuzz.o $(BUILD)/fuzz/main.o $(BUILD)/libalphar.a
	$(call note,LINK)
	@mkdir -p $(@D)
	$(Q)$(CC) $(FUZZ_WRAP) -o $@ $(BUILD)/fuzz/fuzz_$*.o $(BUILD)/fuzz/fuzz.o $(BUILD)/fuzz/main.o $(BUILD)/libalphar.a $(LDLIBS_)

$(BUILD)/libfuzzer/%: $(BUILD)/fuzz/fuzz_%.o $(BUILD)/fuzz/fuzz.o $(BUILD)/libalphar.a
	$(call note,LINK)
	@mkdir -p $(@D)
	$(Q)$(CC) -fsanitize=fuzzer $(FUZZ_WRAP) -o $@ $(BUILD)/fuzz/fuzz_$*.o $(BUILD)/fuzz/fuzz.o $(BUILD)/libalphar.a $(LDLIBS_)

# oneDNN is a rival of the benchmarks and nothing else: left out where it is not installed.
ONEDNN := $(if $(wildcard /usr/include/dnnl.h /usr/include/*/dnnl.h),dnnl,none)
$(BUILD)/bench/bench_products: $(BUILD)/bench/onednn_$(ONEDNN).o
$(BUILD)/bench/%: $(BUILD)/bench/%.o $(BUILD)/libalphar.a
	$(call note,LINK)
	$(Q)$(CC) -o $@ $(filter %.o,$^) $(BUILD)/libalphar.a $(if $(filter %_dnnl.o,$^),-ldnnl) $(LDLIBS_)

# checkasm for aarch64, with nothing but base and kern in it, run by qemu.
ARM64_CC  ?= aarch64-linux-gnu-gcc
ARM64_RUN ?= qemu-aarch64 -L /usr/aarch64-linux-gnu
ARM64_SRC := $(filter-out $(X86) %/gemm_openblas.c,$(wildcard src/base/*.c src/kern/*.c tests/checkasm/*.c tests/checkasm/alone/*.c) tests/blocks.c)
ARM64_OBJ := $(ARM64_SRC:%.c=$(BUILD)/arm64/%.o)

$(BUILD)/arm64/%.o: %.c Makefile
	$(call note,CC)
	@mkdir -p $(@D)
	$(Q)$(ARM64_CC) $(CFLAGS_) -MMD -MP -c -o $@ $<

$(BUILD)/arm64/checkasm: $(ARM64_OBJ)
	$(call note,LINK)
	$(Q)$(ARM64_CC) -o $@ $(ARM64_OBJ) -fopenmp -lm -lpthread -ldl

# ---- using ---------------------------------------------------------------------------------------------------
unit: $(UNIT_BIN) $(FUZZ_BIN) $(BUILD)/checkasm

# A compiler alone does not do: Debian has the headers of the C library in a package of their own, which the compiler only recommends.
ARM64_DEB := gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user
checkasm-arm64-ready:
	@{ printf '#include <stdint.h>\nint main(void) { return 0; }\n' | $(ARM64_CC) -x c -fopenmp -o /dev/null - && \
	   command -v $(firstword $(ARM64_RUN)); } >/dev/null 2>&1 || \
	  { echo "checkasm for aarch64 needs a cross compiler and qemu: apt-get install $(ARM64_DEB)"; exit 1; }

checkasm-arm64: checkasm-arm64-ready
	@$(MAKE) --no-print-directory $(BUILD)/arm64/checkasm
	OMP_WAIT_POLICY=passive $(ARM64_RUN) $(BUILD)/arm64/checkasm --few neon

# Where Open MPI is installed tests start several ranks, of a build of their own.
test: all unit
	$(if $(MPI),,@! $(PKG_CONFIG) --exists ompi-c || $(MAKE) --no-print-directory MPI=1 BUILD=$(BUILD)/mpi all)
	@BUILD=$(BUILD) tests/run

asan:
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/asan OPT='-O1 -g' \
	  SANITIZE='-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer' all unit
	@BUILD=$(BUILD)/asan SANITIZE='-fsanitize=address,undefined' ALPHAR_TEST_FAST=1 tests/run

# Objects of their own: the coverage that libFuzzer follows is compiled in.
fuzz-programs: $(FUZZ:%=$(BUILD)/libfuzzer/%)

fuzz:
	@command -v clang >/dev/null || { echo 'make fuzz needs clang and its libomp: make deps DEPS_EXTRA="clang libomp-dev"' >&2; exit 1; }
	@$(MAKE) --no-print-directory CC=clang BUILD=$(BUILD)/fuzz OPT='-O1 -g -Wno-pass-failed' \
	  SANITIZE='-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer' fuzz-programs
	@BUILD=$(BUILD)/fuzz FUZZ_SECONDS=$(FUZZ_SECONDS) fuzz/run $(FUZZ)

demo: all
	@BUILD=$(BUILD) demo/run

demo-alpha: all
	@BUILD=$(BUILD) demo/run-alpha

# What is committed, on bare machines.
fresh:
	@tools/fresh-machine $(SUITES)

lint:
	@tools/check-layers
	@tools/lint $(CC)

format:
	clang-format -i $$(git ls-files '*.c' '*.h')

bench: all $(BENCH_BIN)
	@BUILD=$(BUILD) bench/run $(PARTS)

# For who links libalphar.a.  pkg-config --static of OpenBLAS and LAPACKE asks for a second LAPACK, and for gfortran's
# library even where OpenBLAS is shared, so these two are named here; FORTRAN_LIBS where they are, for a link with -static.
LIBS_PRIVATE = $(shell $(PKG_CONFIG) --libs $(ALGEBRA) $(if $(MPI),ompi-c)) $(FORTRAN_LIBS) -fopenmp -lm -lpthread

# Every file of an installation, and what is only ours of its folders.
INSTALLED = $(BINDIR)/alphar $(if $(CUDA),$(LIBDIR)/libalphar-cuda.so) $(LIBDIR)/libalphar.a $(LIBDIR)/libalphar.so $(LIBDIR)/$(SONAME) $(LIBDIR)/$(SO) $(PKGCONFIGDIR)/alphar.pc \
            $(MANDIR)/man1/alphar.1 $(COMMANDS:%=$(MANDIR)/man1/alphar-%.1) $(BASHDIR)/alphar $(ZSHDIR)/_alphar $(FISHDIR)/alphar.fish
OWN_DIRS  = $(INCLUDEDIR)/alphar $(DOCDIR)

# make parts words at spaces, and a PREFIX that is no path from the root would be glued to DESTDIR.
check_places = $(if $(word 3,$(DESTDIR)x $(PREFIX)x),$(error DESTDIR '$(DESTDIR)', PREFIX '$(PREFIX)': found a space, wanted paths without)) \
               $(if $(filter /%,$(PREFIX)),,$(error PREFIX: found '$(PREFIX)', wanted a path from the root, such as /usr))

install: all
	$(check_places)
	$(INSTALL) -d $(patsubst %,$(DESTDIR)%,$(sort $(dir $(INSTALLED))) $(OWN_DIRS) $(DOCDIR)/docs $(DOCDIR)/examples)
	$(INSTALL) -m 755 $(BUILD)/alphar $(DESTDIR)$(BINDIR)/alphar
	$(INSTALL) -m 644 include/alphar/*.h $(DESTDIR)$(INCLUDEDIR)/alphar/
	$(INSTALL) -m 644 $(BUILD)/libalphar.a $(DESTDIR)$(LIBDIR)/libalphar.a
	$(INSTALL) -m 755 $(BUILD)/$(SO) $(DESTDIR)$(LIBDIR)/$(SO)
	$(if $(CUDA),$(INSTALL) -m 755 $(CUDA_LIBRARY) $(DESTDIR)$(LIBDIR)/libalphar-cuda.so)
	ln -sf $(SO) $(DESTDIR)$(LIBDIR)/$(SONAME)
	ln -sf $(SONAME) $(DESTDIR)$(LIBDIR)/libalphar.so
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR:$(PREFIX)/%=$${prefix}/%)|' -e 's|@VERSION@|$(VERSION)|' \
	  -e 's|@INCLUDEDIR@|$(INCLUDEDIR:$(PREFIX)/%=$${prefix}/%)|' -e 's|@REQUIRES@|$(REQUIRES)|' \
	  -e 's|@LIBS@|$(LIBS_PRIVATE)|' alphar.pc.in >$(DESTDIR)$(PKGCONFIGDIR)/alphar.pc
	chmod 644 $(DESTDIR)$(PKGCONFIGDIR)/alphar.pc
	$(INSTALL) -m 644 $(BUILD)/share/*.1 $(DESTDIR)$(MANDIR)/man1/
	$(INSTALL) -m 644 $(BUILD)/share/alphar.bash $(DESTDIR)$(BASHDIR)/alphar
	$(INSTALL) -m 644 $(BUILD)/share/alphar.zsh $(DESTDIR)$(ZSHDIR)/_alphar
	$(INSTALL) -m 644 $(BUILD)/share/alphar.fish $(DESTDIR)$(FISHDIR)/alphar.fish
	$(INSTALL) -m 644 LICENSE README.md CHANGELOG.md $(DESTDIR)$(DOCDIR)/
	$(INSTALL) -m 644 docs/*.md $(DESTDIR)$(DOCDIR)/docs/
	$(INSTALL) -m 644 examples/*.c examples/slurm.sh $(DESTDIR)$(DOCDIR)/examples/

uninstall:
	rm -f $(patsubst %,$(DESTDIR)%,$(INSTALLED))
	rm -rf $(patsubst %,$(DESTDIR)%,$(OWN_DIRS))

clean:
	rm -rf $(BUILD)

-include $(CUDA_SRC:%.cu=$(BUILD)/cuda/%.d) $(CUDA_SRC:%.cu=$(BUILD)/emulated/%.d) $(wildcard $(BUILD)/emulated/tests/emulator/*.d)
-include $(CHECKASM:.o=.d) $(ARM64_OBJ:.o=.d) $(OBJ:.o=.d) $(CLI_OBJ:.o=.d) $(TEST_OBJ:.o=.d) $(UNIT_BIN:$(BUILD)/tests/%=$(BUILD)/tests/unit/%.d) $(wildcard $(BUILD)/fuzz/*.d) $(wildcard $(BUILD)/bench/*.d)
