import json,os,sys
from pathlib import Path
sys.path[:0]=['/work/main/pddl-gen/src','/work/main/shared/src']
from pddl_gen.items import suite_items
from pddl_gen import roles
from pddl_gen.extract import extract
from shared.llm import Request, Sampling, user, write_prompts
from shared.llm.key import question, question_key
R=Path('/work/tools/rec/pddl')
S=Sampling()
NL=['logistics','tyreworld','floortile','termes','barman','childsnack','canal','pottery']
PR=['logistics','floortile','termes','childsnack','canal']
items={i.id:i for t,n in(('nl2domain',NL),('prob2domain',PR),('planner_baseline',NL)) for i in suite_items(t,n)}
def key(r): return question_key(question(r))
def text(r): return r.messages[0].text
def answers():
    """key -> text, of all finished rounds"""
    out={}
    for line in open('/tmp/pddlrec/answers.jsonl'):
        d=json.loads(line); out[d['key']]=d['text']
    return out
def take(n):
    """answers of round n by its map (own rounds)"""
    m=json.loads((R/f'round{n}/map.json').read_text())
    with open('/tmp/pddlrec/answers.jsonl','a') as f:
        for r in m['requests']:
            p=R/f'round{n}'/r['file'].replace('.txt','.answer.txt')
            f.write(json.dumps({'key':r['key'],'text':p.read_bytes().decode()},ensure_ascii=False)+'\n')
def emit(n, folders):
    out=R/f'round{n}'; out.mkdir()
    reqs=[]; m=[]
    for f,rs in sorted(folders.items()):
        (out/str(f)).mkdir()
        for i,r in enumerate(rs,1):
            name=f'{f}/{i:03d}.txt'
            (out/name).write_text(text(r)); reqs.append(r)
            m.append({'file':name,'key':key(r),'tag':r.tag,'draw':r.draw})
    write_prompts('/tmp/pddlrec/prompts.jsonl',reqs)
    tmp=out/'.map'; tmp.write_text(json.dumps({'prompts_version':'v1','requests':m},indent=1)); tmp.rename(out/'map.json')
    print({f:len(v) for f,v in folders.items()},len(m))
