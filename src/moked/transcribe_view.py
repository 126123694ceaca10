"""What a person sees of `moked transcribe`: a bar with the file and the time left, the words as they come, a summary.

All of it on standard error, so that a transcript on standard output stays clean. Where that is no terminal there is no
bar, and a line for each recording instead.
"""

from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from moked.errors import Failure, MokedError, ProviderError
from moked.transcribe import Done, Plan, View, Work
from moked.transcript_files import Segment, Transcript, clock, text_line

_WHAT_TO_DO: Final = {
    Failure.AUTH: "Check the credentials with `moked doctor`",
    Failure.CONFIG: "Check the settings with `moked doctor`",
    Failure.QUOTA: "Try again later, or with --jobs 1",
    Failure.UNAVAILABLE: "Try again later, or with --engine whisper",
    Failure.TIMEOUT: "Try again later, or with --jobs 1",
}


class TerminalView(View):
    """Enter it while the work is done. `words`: show them as they come, where there is a terminal."""

    def __init__(self, console: Console, *, words: bool = True) -> None:
        self._console = console
        self._words = words and console.is_terminal
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[place]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("", total=None, visible=False, place="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._progress.stop()

    def planned(self, found: Plan) -> None:
        for problem in found.problems:
            self._complain(problem.code, str(problem))
        if found.already:
            these = f"{len(found.already)} transcripts are" if len(found.already) > 1 else f"{found.already[0]} is"
            self._tell(f"{these} there already and stay as they are; --force writes anew")
        if found.passed_over:
            self._tell(f"Other files in these folders, which are no recordings: {len(found.passed_over)}")

    def loading(self, engine: str) -> None:
        self._progress.update(self._task, description=f"loading {engine}", visible=True)

    def begun(self, work: Work, number: int, of: int) -> None:
        count = f"{number} of {of}  " if of > 1 else ""
        self._progress.reset(self._task, description=f"{count}{escape(work.source.name)}", total=None, place="")

    def at(self, ms: int, of_ms: int | None) -> None:
        place = f"{clock(ms)} of {clock(of_ms)}" if of_ms else clock(ms)
        self._progress.update(self._task, completed=ms, total=of_ms, place=place)

    def said(self, segment: Segment) -> None:
        if self._words:
            self._console.print(text_line(segment), style="dim", markup=False, highlight=False)

    def finished(self, work: Work, transcript: Transcript, took_s: float) -> None:
        where = f" -> {work.target}" if work.target else ""
        words = sum(len(segment.text.split()) for segment in transcript.segments)
        length, took = clock(transcript.duration_ms), clock(int(took_s * 1000))
        self._tell(f"{work.source}{where}: {words} words, {length} of audio in {took}")
        for warning in transcript.warnings:
            self._console.print(f"[yellow]{escape(str(work.source))}: {escape(warning)}[/]", highlight=False)

    def failed(self, work: Work, problem: MokedError) -> None:
        text = str(problem) if str(work.source) in str(problem) else f"{work.source}: {problem}"
        if isinstance(problem, ProviderError):
            text = f"{text}. {_WHAT_TO_DO.get(problem.kind, 'Try again')}"
        self._complain(problem.code, text)

    def summary(self, found: Plan, done: Done) -> None:
        failed = len(found.problems) + done.failed
        if done.finished + len(found.already) + failed < 2:
            return  # one recording has said it all
        already = f", {len(found.already)} were there" if found.already else ""
        self._tell(f"Transcribed: {done.finished} ({clock(done.audio_ms)} of audio){already}, failed: {failed}")

    def interrupted(self, done: Done) -> None:
        self._tell(f"Interrupted. Finished transcripts are kept: {done.finished}. The same command goes on from here")

    def _tell(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _complain(self, code: str, text: str) -> None:
        self._console.print(f"[bold red]{code}:[/] {escape(text)}", highlight=False, soft_wrap=True)
