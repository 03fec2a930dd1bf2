# build the shipped recording from prompts + answers; scores of generator answers from /tmp/scores*.json
from common import *
from shared.llm import Header, build_recording
from pddl_gen.recorded import answer_key, RECORDING, FOLDER
import hashlib, glob
from transformers import AutoTokenizer
from shared.llm.causal_lm import load_causal_lm
import sys
N,START,ROUNDS=map(int,sys.argv[1:4])
A=answers()
P={}
for l in open('/tmp/pddlrec/prompts.jsonl'):
    d=json.loads(l); P[d['key']]=d
_,tok=load_causal_lm()
count=lambda t: len(tok(t,add_special_tokens=False)['input_ids'])
with open('/tmp/pddlrec/import.jsonl','w') as f, open('/tmp/pddlrec/asked.jsonl','w') as g:
    for k,t in A.items():
        u={'prompt':count(P[k]['request']['messages'][0]['parts'][0]['text']),'completion':count(t)}
        f.write(json.dumps({'key':k,'text':t,'usage':u},ensure_ascii=False)+'\n')
        g.write(json.dumps(P[k],ensure_ascii=False)+'\n')
if RECORDING.exists(): RECORDING.unlink()
h=Header('a large general-purpose language model','a large general-purpose language model','2026-11-24',
 "default sampling of a chat session, no temperature set; prompts were answered one after another by separate sessions without tools, each of which saw the prompts of its own folder alone, with the draws of one item in different folders; answers are stored word for word; token counts are those of SmolLM2's tokenizer")
print(build_recording('/tmp/pddlrec/asked.jsonl','/tmp/pddlrec/import.jsonl',RECORDING,h))
sc=json.load(open('/tmp/pddlrec/scores.json')) if Path('/tmp/pddlrec/scores.json').exists() else {}
(FOLDER/'scores.json').write_text(json.dumps({'model':'smollm2-135m-instruct','temperature':0.7,'scores':sc},indent=0)+'\n')
(FOLDER/'strand.json').write_text(json.dumps({'n':N,'start_n':START,'rounds':ROUNDS,'domains':{'nl2domain':NL,'prob2domain':PR,'planner_baseline':NL}},indent=1)+'\n')
