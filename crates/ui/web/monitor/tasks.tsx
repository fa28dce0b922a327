/** The page that finds tasks and shows one. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { goTo, hrefOf } from "../state/route";
import { Button } from "../ui/button";
import { TextField } from "../ui/field";
import { isTaskId } from "./lookup";
import { TaskList } from "./task-list";
import { TaskView } from "./task-view";

export function TasksPage({ path }: { path: string[] }): JSX.Element {
  const taskId = path[0] ?? null;
  return (
    <div class="m-page">
      <Finder key={taskId} taskId={taskId} />
      {taskId === null ? <TaskList /> : <TaskView key={taskId} taskId={taskId} />}
    </div>
  );
}

function Finder({ taskId }: { taskId: string | null }): JSX.Element {
  const [text, setText] = useState(taskId ?? "");
  const [problem, setProblem] = useState<string | null>(null);
  const open = (event: Event) => {
    event.preventDefault();
    const typed = text.trim().toLowerCase();
    if (!isTaskId(typed)) return setProblem(`'${text.trim()}' is not a task id: a UUID is expected.`);
    setProblem(null);
    goTo(["monitor", "tasks", typed]);
  };
  return (
    <form class="m-finder" onSubmit={open} noValidate>
      <TextField
        label="Task id"
        type="search"
        value={text}
        onInput={setText}
        placeholder="0192f0c1-2345-7abc-8def-0123456789ab"
        error={problem}
      />
      <Button type="submit" variant="primary" icon="search">
        Look up
      </Button>
      {taskId !== null && <a href={hrefOf("monitor", "tasks")}>All tasks</a>}
    </form>
  );
}
