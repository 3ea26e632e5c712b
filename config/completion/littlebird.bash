# Bash completion of littlebird and lb-admin. Commands, options and what their values are called come
# from the --help of the program that is being completed: what it can do and what is offered agree.

_littlebird_services='supervisor routing transport storage swarm signer coordinator member gateway'

# Candidates that begin with what stands at the cursor.
_littlebird_offer() {
    mapfile -t COMPREPLY < <(compgen "$@" -- "${COMP_WORDS[COMP_CWORD]}")
}

# Files or words, by what --help calls a value or the words of a command; count: words before this one.
_littlebird_offer_kind() {
    local kind=$1 count=$2

    case $kind in
    DIR | D) compopt -o filenames; _littlebird_offer -d ;;
    *DEVICE* | *PATH* | FILE | *'|FILE' | '[FILE]') compopt -o filenames; _littlebird_offer -f ;;
    P) _littlebird_offer -W 'low normal high' ;;
    SERVICE=N*) compopt -o nospace; _littlebird_offer -W 'transport= storage= swarm=' ;;
    *SERVICE*LEVEL*)
        case $count in
        0) _littlebird_offer -W "$_littlebird_services all" ;;
        1) _littlebird_offer -W 'error warn info debug default' ;;
        esac ;;
    SERVICE*) _littlebird_offer -W "$_littlebird_services" ;;
    esac
}

# What the value of an option is called in a usage line; nothing when it has none.
_littlebird_value() {
    sed -nE "s/.*\[$2 ([^]]+)\].*/\1/p" <<<"$1"
}

# Options and words behind the command, of which the line has the first `begin` words.
_littlebird_arguments() {
    local command=$1 begin=$2 usage value='' count=0 i

    usage=$("${COMP_WORDS[0]}" $command --help 2>/dev/null | head -n 1)
    for ((i = begin; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --*) value=$(_littlebird_value "$usage" "${COMP_WORDS[i]}") ;;
        *) [ -n "$value" ] || ((++count)); value='' ;;
        esac
    done
    if [ -n "$value" ]; then
        _littlebird_offer_kind "$value" 0
    elif [[ ${COMP_WORDS[COMP_CWORD]} == -* ]]; then
        _littlebird_offer -W "$(grep -oE -- '--[a-z0-9-]+' <<<"$usage") --help --version"
    else
        usage=${usage#usage: * "$command"}
        usage=${usage%%\[--*}
        usage=${usage# }
        _littlebird_offer_kind "${usage% }" "$count"
    fi
}

_littlebird() {
    local commands seconds first=${COMP_WORDS[1]} second=${COMP_WORDS[2]-}

    COMPREPLY=()
    commands=$("${COMP_WORDS[0]}" --help 2>/dev/null | sed -nE 's/^  ([a-z]+( [a-z]+)?) .*/\1/p')
    seconds=$(grep "^$first " <<<"$commands" | cut -d' ' -f2)
    if ((COMP_CWORD == 1)); then
        _littlebird_offer -W "$(cut -d' ' -f1 <<<"$commands" | sort -u) --help --version"
    elif ((COMP_CWORD > 2)) && grep -qxF -- "$first $second" <<<"$commands"; then
        _littlebird_arguments "$first $second" 3
    elif ((COMP_CWORD == 2)) && [[ -n $seconds && $second != -* ]]; then
        _littlebird_offer -W "$seconds"
    elif grep -qxF -- "$first" <<<"$commands"; then
        _littlebird_arguments "$first" 2
    fi
}

complete -F _littlebird littlebird lb-admin
