#!/bin/sh
# Checks the models of this folder with spin and pan: every configuration must pass, every mutant must be refuted.
#
#   run.sh            the quick configurations and all mutants
#   run.sh long       the larger configurations as well
#   run.sh MODEL ...  one run, with -D... as given, and the trace if there is an error: run.sh call.pml -DKC=1 -DMUT_NO_RINGS
#
# One line each: verdict, model, defines, states, depth, seconds, errors. JOBS (default 2) runs at a time, MEM (default 4000) MB each.
set -u
here=$(cd "$(dirname "$0")" && pwd)
tmp=$(mktemp -d) || exit 2
trap 'rm -rf "$tmp"' EXIT
trap 'exit 2' INT TERM
mem=${MEM:-4000}

# check DIR MODEL DEFINES...: builds and runs pan in DIR, leaves its output in DIR/out.
check() {
	dir=$1 model=$2
	shift 2
	mkdir -p "$dir" && cd "$dir" && cp "$here/$model" . || return 1
	case "$*" in *-DMUT_*) opt=-O0 ;; *) opt=-O2 ;; esac # a mutant is refuted faster than it is optimized
	spin -a "$@" "$model" >out 2>&1 &&
		gcc $opt -w -DSAFETY -DCOLLAPSE -DVECTORSZ=2048 -DMEMLIM="$mem" -o pan pan.c >>out 2>&1 || return 1
	./pan -E -n -m1000000 >out 2>&1
}

# one WANT MODEL DEFINES...: a check and its line; the exit status says whether the verdict is the wanted one.
one() {
	want=$1
	shift
	dir=$(mktemp -d "$tmp/XXXXXX")
	(check "$dir" "$@")
	states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' "$dir/out" | head -n 1)
	depth=$(sed -n 's/.*depth reached \([0-9]*\).*/\1/p' "$dir/out" | head -n 1)
	errors=$(sed -n 's/.*errors: \([0-9]*\).*/\1/p' "$dir/out" | head -n 1)
	seconds=$(sed -n 's/^pan: elapsed time \([0-9.e+-]*\).*/\1/p' "$dir/out" | head -n 1)
	verdict=BROKEN
	if grep -q -e 'out of memory' -e 'reached -DMEMLIM' -e 'max search depth too small' -e 'not completed' "$dir/out" && [ "${errors:-0}" = 0 ]; then
		verdict=UNFINISHED
	elif [ "$errors" = 0 ]; then
		verdict=pass
	elif [ -n "$errors" ] && grep -q 'assertion violated' "$dir/out"; then
		verdict=refuted
	fi
	ok=FAIL
	[ "$verdict" = "$want" ] && ok=ok
	printf '%-4s %-8s %s: states %s, depth %s, %s s, errors %s\n' "$ok" "$verdict" "$*" "${states:--}" "${depth:--}" "${seconds:--}" "${errors:--}"
	[ $ok = ok ] || tail -n 20 "$dir/out" | sed 's/^/     | /'
	rm -rf "$dir"
	[ $ok = ok ]
}

case ${1:-} in
one) # a line of the lists below, called by xargs
	shift
	# shellcheck disable=SC2086 # the line is split into words on purpose
	one $1
	exit
	;;
*.pml)
	check "$tmp/x" "$@"
	cat "$tmp/x/out"
	cd "$tmp/x" || exit 2
	model=$1
	shift
	[ ! -e "$model.trail" ] && exit
	spin -t -p -g "$@" "$model"
	exit 1
	;;
esac

list() { sed -e 's/#.*//' -e '/^ *$/d' "$here/$1"; }
{
	list quick.txt
	list mutants.txt
	if [ "${1:-}" = long ]; then list long.txt; fi
} | xargs -P "${JOBS:-2}" -d '\n' -n 1 "$here/run.sh" one || { echo "run.sh: not as it should be"; exit 1; }
