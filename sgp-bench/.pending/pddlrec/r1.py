from common import *
import hashlib
m=json.loads((R/'round1/map.json').read_text())['requests']
reqs=[];ans=[]
for r in m:
    item=items[r['item']]
    q=roles.generate(item,r['sample'],S)
    disk=(R/'round1'/r['file']).read_text()
    assert disk==text(q),(r['file'])
    reqs.append(q); ans.append({'key':key(q),'text':(R/'round1'/r['file'].replace('.txt','.answer.txt')).read_bytes().decode()})
write_prompts('/tmp/pddlrec/prompts.jsonl',reqs)
with open('/tmp/pddlrec/answers.jsonl','w') as f:
    for a in ans: f.write(json.dumps(a,ensure_ascii=False)+'\n')
A=answers(); print(len(A))
# no look at verdicts here: only extraction
folders={i:[] for i in range(6)}
def slot(lists):
    pass
for d,name in enumerate(NL):
    mine=[]
    for t in ('nl2domain/%s/terse'%name,'prob2domain/'+name):
        if t in items:
            it=items[t]
            e=extract(A[key(roles.generate(it,0,S))])
            mine.append(roles.critic(it,e.thought,e.domain_text,S,round=1))
            mine+= [roles.generate(it,4,S),roles.generate(it,5,S)]
    if 'prob2domain/'+name not in items:
        it=items['nl2domain/%s/terse'%name]; mine+=[roles.generate(it,6,S),roles.generate(it,7,S)]
    assert len(mine)<=6
    for j,q in enumerate(mine): folders[(j+d)%6].append(q)   # one prompt a domain in each folder
emit(2,folders)
