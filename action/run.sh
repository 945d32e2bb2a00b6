#!/usr/bin/env bash
# Runs the program once, keeps its JSON report, writes the job summary and the step's
# outputs, and ends with the program's exit code. Reads COMMAND, CONFIG, POLICY, ARGS,
# DRY_RUN, EXIT_CODE, REPORT, SUMMARY and what the runner sets.
set -euo pipefail

# lines puts the lines of a text that are not empty into the array "arguments", each
# after a flag, if one is given. Nothing is split or expanded: a line is an argument.
arguments=()
lines() {
	local line
	while IFS= read -r line; do
		line=${line%$'\r'}
		[[ -z $line ]] || arguments+=(${2:+"$2"} "$line")
	done <<<"$1"
}

case "$COMMAND" in
sync | copy | list) ;;
*)
	echo "::error::ecr-mirror-sync: command \"$COMMAND\": expected sync, copy or list" >&2
	exit 10
	;;
esac
lines "$CONFIG" --config
lines "$POLICY" --policy
[[ $DRY_RUN != true ]] || arguments+=(--dry-run)
[[ $EXIT_CODE != true ]] || arguments+=(--exit-code)
lines "$ARGS"

report=${REPORT:-$RUNNER_TEMP/ecr-mirror-sync-report.json}
mkdir -p "$(dirname "$report")"
code=0
# The + is for the bash of macOS, to which an empty array is an unset variable.
ecr-mirror-sync "$COMMAND" ${arguments[@]+"${arguments[@]}"} --output json >"$report" || code=$?
{
	echo "exit-code=$code"
	echo "report=$report"
} >>"$GITHUB_OUTPUT"

# A run that could not begin, for a mistake in a flag, has written no report.
if [[ ! -s $report ]]; then
	echo "::error::ecr-mirror-sync $COMMAND ended with exit code $code" >&2
	exit "$code"
fi

ecr-mirror-sync report "$report"
[[ $SUMMARY != true ]] || ecr-mirror-sync report "$report" --output markdown >>"$GITHUB_STEP_SUMMARY"

# total adds up numbers of the report's totals. They stand on lines of their own, before
# the rows, so that no jq is needed.
total() {
	local pattern
	pattern=$(IFS='|' && echo "$*")
	sed '/^  "rows":/q' "$report" | awk -F '[":, ]+' -v "pattern=^($pattern)\$" '$2 ~ pattern { sum += $3 } END { print sum + 0 }'
}
{
	echo "copied=$(total copied updated wouldCopy wouldUpdate)"
	echo "failed=$(total failed blocked notDone)"
} >>"$GITHUB_OUTPUT"
exit "$code"
