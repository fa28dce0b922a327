/** What a new conversation shows: questions to begin with, and skills. */

import { Button } from "../../ui/button";
import { Icon } from "../../ui/icons";
import { Notice } from "../../ui/notice";
import type { Conversation } from "../model/types";
import { askQuestion, chooseSkill } from "../store/actions";
import { catalogueProblem, models, refreshCatalogue, skills } from "../store/catalogue";

/** The demo model answers questions about qwen-queue; these suit other models too. */
const QUESTIONS = ["What is qwen-queue?", "How do I add a worker?", "What happens if a worker dies?"];

export interface WelcomeProps {
  conversation: Conversation;
  onShowSettings: () => void;
}

export function Welcome({ conversation, onShowSettings }: WelcomeProps) {
  const skillName = conversation.columns[0]?.skill?.name;
  const skill = skills.value.find((one) => one.name === skillName);
  const seesImages = models.value.some((model) => model.input_modalities?.includes("image"));
  return (
    <div class="welcome">
      <div class="welcome-frame">
        {catalogueProblem.value && (
          <Notice
            kind="error"
            title="Models and skills could not be read"
            actions={
              <Button size="small" onClick={refreshCatalogue}>
                Try again
              </Button>
            }
          >
            {catalogueProblem.value}
          </Notice>
        )}
        <h2>{skill ? skill.title : "Ask a question"}</h2>
        <p class="welcome-text">
          {skill
            ? skill.description
            : "Answers stream as they are written. Close the page if you like: tasks go on without it."}
        </p>
        {!skill && (
          <ul class="suggestions">
            {QUESTIONS.map((question) => (
              <li key={question}>
                <button type="button" class="suggestion" onClick={() => askQuestion(conversation, question, [])}>
                  <span>{question}</span>
                  <Icon name="arrowUp" size={16} />
                </button>
              </li>
            ))}
          </ul>
        )}
        {!skill && seesImages && <SkillList conversation={conversation} onShowSettings={onShowSettings} />}
      </div>
    </div>
  );
}

function SkillList({ conversation, onShowSettings }: WelcomeProps) {
  const choose = (name: string): void => {
    if (chooseSkill(conversation.id, name)) onShowSettings();
  };
  return (
    <>
      <h3 class="welcome-heading">Or let a skill read an image</h3>
      <ul class="skill-chips">
        {skills.value.map((skill) => (
          <li key={skill.name}>
            <Button size="small" title={skill.description} onClick={() => choose(skill.name)}>
              {skill.title}
            </Button>
          </li>
        ))}
      </ul>
    </>
  );
}
