# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Completion of shmfs and shmfs-key in bash; bash-completion loads it.

# Declares cur, prev and words in the caller, with "=" as a letter like others.
_shmfs_init() {
	if declare -F _comp_initialize >/dev/null; then # 2.12 and newer
		_comp_initialize -n = -- "$@"
	else
		_init_completion -n =
	fi
}

# _shmfs_offer WORDS TYPED [BEFORE]
# What begins with TYPED, with BEFORE in front of it.
_shmfs_offer() {
	mapfile -t COMPREPLY < <(compgen -P "${3-}" -W "$1" -- "$2")
	# Of the line, readline replaces what is behind the last "=" alone.
	local typed=${3-}$2
	if [[ $typed == *=* && $COMP_WORDBREAKS == *=* ]]; then
		COMPREPLY=("${COMPREPLY[@]#"${typed%"${typed##*=}"}"}")
	fi
	[[ ${COMPREPLY[*]-} != *= ]] || compopt -o nospace
}

# The last option of a list with commas between.
_shmfs_options() {
	local own_options='min_size= keys= target= nopassthrough'
	local other_options='ro rw noexec noatime auto_unmount fsname='
	local typed=${1##*,} before=${1%"${1##*,}"}

	case $typed in
	keys=*) _shmfs_offer 'keys=dec keys=hex' "$typed" "$before" ;;
	min_size=*[0-9]) _shmfs_offer "${typed}K ${typed}M ${typed}G" "$typed" "$before" ;;
	target=*) _shmfs_offer "$(cd /proc && printf 'target=%s ' [0-9]*)" "$typed" "$before" ;;
	*=*) ;;
	*) _shmfs_offer "$own_options $other_options" "$typed" "$before" ;;
	esac
}

_shmfs() {
	# shellcheck disable=SC2034 # some are bash-completion's to set
	local cur prev words cword split comp_args was_split

	_shmfs_init "$@" || return
	if [[ $prev == -o ]]; then
		_shmfs_options "$cur"
	elif [[ $cur == -* ]]; then
		_shmfs_offer '-d -f -h -o -s -V --help --version' "$cur"
	else
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -d -- "$cur")
	fi
}

_shmfs_key() {
	# shellcheck disable=SC2034 # some are bash-completion's to set
	local cur prev words cword split comp_args was_split

	_shmfs_init "$@" || return
	if [[ $cur == -* ]]; then
		_shmfs_offer '-h -V -x' "$cur"
	elif [[ $prev == -* || $prev == "${words[0]}" ]]; then
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
	fi
}

complete -F _shmfs shmfs
complete -F _shmfs_key shmfs-key
